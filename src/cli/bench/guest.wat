;; The service that `wharf bench` deploys: a wasi:http component with one page of memory, written
;; by hand so that building Wharf needs no Wasm toolchain. `guest.wasm` beside it is the same,
;; assembled; a test compares them.
;;
;;   GET /       answers at once
;;   GET /hold   waits for an hour, or until the client leaves: a live instance without CPU
;;   GET /spin   computes for some tens of milliseconds, then answers: a neighbour
(component
  (import "wasi:io/error@0.2.0" (instance $io-error
    (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $error))

  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))

  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $pollable))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))

  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $error))
    (export "output-stream" (type $output-stream (sub resource)))
    (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output-stream))
      (param "contents" (list u8))
      (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output-stream))

  (import "wasi:http/types@0.2.0" (instance $http
    (alias outer 1 $output-stream (type $output-stream))
    (export "fields" (type $fields (sub resource)))
    (export "incoming-request" (type $incoming-request (sub resource)))
    (export "outgoing-response" (type $outgoing-response (sub resource)))
    (export "outgoing-body" (type $outgoing-body (sub resource)))
    (export "response-outparam" (type $response-outparam (sub resource)))
    (type $dns (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns-error-payload (eq $dns)))
    (type $alert (record
      (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $tls-alert-received-payload (eq $alert)))
    (type $size (record
      (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $field-size-payload (eq $size)))
    (type $code (variant
      (case "DNS-timeout")
      (case "DNS-error" $dns-error-payload)
      (case "destination-not-found")
      (case "destination-unavailable")
      (case "destination-IP-prohibited")
      (case "destination-IP-unroutable")
      (case "connection-refused")
      (case "connection-terminated")
      (case "connection-timeout")
      (case "connection-read-timeout")
      (case "connection-write-timeout")
      (case "connection-limit-reached")
      (case "TLS-protocol-error")
      (case "TLS-certificate-error")
      (case "TLS-alert-received" $tls-alert-received-payload)
      (case "HTTP-request-denied")
      (case "HTTP-request-length-required")
      (case "HTTP-request-body-size" (option u64))
      (case "HTTP-request-method-invalid")
      (case "HTTP-request-URI-invalid")
      (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32))
      (case "HTTP-request-header-size" (option $field-size-payload))
      (case "HTTP-request-trailer-section-size" (option u32))
      (case "HTTP-request-trailer-size" $field-size-payload)
      (case "HTTP-response-incomplete")
      (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $field-size-payload)
      (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32))
      (case "HTTP-response-trailer-size" $field-size-payload)
      (case "HTTP-response-transfer-coding" (option string))
      (case "HTTP-response-content-coding" (option string))
      (case "HTTP-response-timeout")
      (case "HTTP-upgrade-failed")
      (case "HTTP-protocol-error")
      (case "loop-detected")
      (case "configuration-error")
      (case "internal-error" (option string))))
    (export "error-code" (type $error-code (eq $code)))
    (export "[method]incoming-request.path-with-query" (func
      (param "self" (borrow $incoming-request)) (result (option string))))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[constructor]outgoing-response" (func
      (param "headers" (own $fields)) (result (own $outgoing-response))))
    (export "[method]outgoing-response.body" (func
      (param "self" (borrow $outgoing-response)) (result (result (own $outgoing-body)))))
    (export "[method]outgoing-body.write" (func
      (param "self" (borrow $outgoing-body)) (result (result (own $output-stream)))))
    (export "[static]outgoing-body.finish" (func
      (param "this" (own $outgoing-body))
      (param "trailers" (option (own $fields)))
      (result (result (error $error-code)))))
    (export "[static]response-outparam.set" (func
      (param "param" (own $response-outparam))
      (param "response" (result (own $outgoing-response) (error $error-code)))))))
  (alias export $http "incoming-request" (type $incoming-request))
  (alias export $http "response-outparam" (type $response-outparam))

  ;; The memory, apart from the code, because the imports below need it before the code exists.
  (core module $Memory
    (memory (export "memory") 1)
    ;; What a new instance answers with, and where results are put, is below 1024.
    (global $free (mut i32) (i32.const 1024))
    (data (i32.const 64) "Hello from wharf bench\n")
    (func (export "realloc") (param $old i32) (param $was i32) (param $align i32) (param $len i32)
      (result i32)
      (global.set $free (i32.and
        (i32.sub (i32.add (global.get $free) (local.get $align)) (i32.const 1))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.get $free)
      (global.set $free (i32.add (global.get $free) (local.get $len)))))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))

  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $write (canon lower
    (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
  (core func $path (canon lower (func $http "[method]incoming-request.path-with-query")
    (memory $mem) (realloc $realloc)))
  (core func $fields (canon lower (func $http "[constructor]fields")))
  (core func $response (canon lower (func $http "[constructor]outgoing-response")))
  (core func $body (canon lower (func $http "[method]outgoing-response.body") (memory $mem)))
  (core func $stream (canon lower (func $http "[method]outgoing-body.write") (memory $mem)))
  (core func $finish (canon lower (func $http "[static]outgoing-body.finish")
    (memory $mem) (realloc $realloc)))
  (core func $set (canon lower (func $http "[static]response-outparam.set") (memory $mem)))
  (core func $drop-pollable (canon resource.drop $pollable))
  (core func $drop-stream (canon resource.drop $output-stream))

  (core module $Main
    (import "host" "memory" (memory 1))
    (import "host" "block" (func $block (param i32)))
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "path" (func $path (param i32 i32)))
    (import "host" "fields" (func $fields (result i32)))
    (import "host" "response" (func $response (param i32) (result i32)))
    (import "host" "body" (func $body (param i32 i32)))
    (import "host" "stream" (func $stream (param i32 i32)))
    (import "host" "finish" (func $finish (param i32 i32 i32 i32)))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "drop-pollable" (func $drop-pollable (param i32)))
    (import "host" "drop-stream" (func $drop-stream (param i32)))

    (func (export "handle") (param $request i32) (param $out i32)
      (local $letter i32)
      (call $path (local.get $request) (i32.const 16))
      (if (i32.and (i32.load8_u (i32.const 16)) (i32.gt_u (i32.load (i32.const 24)) (i32.const 1)))
        (then (local.set $letter (i32.load8_u offset=1 (i32.load (i32.const 20))))))
      (if (i32.eq (local.get $letter) (i32.const 0x68)) (then (call $hold)))
      (if (i32.eq (local.get $letter) (i32.const 0x73)) (then (call $spin)))
      (call $answer (local.get $out)))

    (func $hold
      (local $hour i32)
      (local.set $hour (call $subscribe (i64.const 3_600_000_000_000)))
      (call $block (local.get $hour))
      (call $drop-pollable (local.get $hour)))

    (func $spin
      (local $rounds i32)
      (local.set $rounds (i32.const 20_000_000))
      (loop $again
        (br_if $again
          (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1))))))

    ;; A response with an empty head, then the body.
    (func $answer (param $out i32)
      (local $response i32) (local $body i32) (local $stream i32)
      (local.set $response (call $response (call $fields)))
      (call $body (local.get $response) (i32.const 16))
      (local.set $body (i32.load (i32.const 20)))
      (call $set (local.get $out) (i32.const 0) (local.get $response)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $stream (local.get $body) (i32.const 16))
      (local.set $stream (i32.load (i32.const 20)))
      (call $write (local.get $stream) (i32.const 64) (i32.const 23) (i32.const 16))
      (call $drop-stream (local.get $stream))
      (call $finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 16))))
  (core instance $main (instantiate $Main (with "host" (instance
    (export "memory" (memory $mem))
    (export "block" (func $block))
    (export "subscribe" (func $subscribe))
    (export "write" (func $write))
    (export "path" (func $path))
    (export "fields" (func $fields))
    (export "response" (func $response))
    (export "body" (func $body))
    (export "stream" (func $stream))
    (export "finish" (func $finish))
    (export "set" (func $set))
    (export "drop-pollable" (func $drop-pollable))
    (export "drop-stream" (func $drop-stream))))))

  (func $handle
    (param "request" (own $incoming-request))
    (param "response-out" (own $response-outparam))
    (canon lift (core func $main "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))

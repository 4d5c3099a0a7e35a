;; Hostile: three memories, each within a limit of 64 MiB that their sum exceeds.
;;
;; A limiter that looks at one memory at a time lets this have 192 MiB; one that sums has to
;; refuse. Each of three core instances grows its own memory, 1 MiB at a time and touched,
;; until it has 64 MiB or is refused.
;;
;;   GET /        answers with how many MiB all of them got: "N MiB\n"
;;   GET /trap    traps (unreachable) when one was refused, as a program out of memory does
;;
;; Rust has one memory for each component, so this is written by hand. It imports
;; wasi:http/types and wasi:io/streams 0.2.0, as little of them as an answer needs.
(component
  (import "wasi:io/error@0.2.0" (instance $io-error
    (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $error))

  (import "wasi:io/streams@0.2.0" (instance $io-streams
    (alias outer 1 $error (type $outer-error))
    (export "error" (type $error (eq $outer-error)))
    (export "output-stream" (type $output-stream (sub resource)))
    (type $stream-error-cases (variant
      (case "last-operation-failed" (own $error))
      (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error-cases)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output-stream))
      (param "contents" (list u8))
      (result (result (error $stream-error)))))))
  (alias export $io-streams "output-stream" (type $output-stream))

  (import "wasi:http/types@0.2.0" (instance $http-types
    (alias outer 1 $output-stream (type $outer-output-stream))
    (export "output-stream" (type $output-stream (eq $outer-output-stream)))
    (export "fields" (type $fields (sub resource)))
    (export "trailers" (type $trailers (eq $fields)))
    (export "incoming-request" (type $incoming-request (sub resource)))
    (export "outgoing-response" (type $outgoing-response (sub resource)))
    (export "outgoing-body" (type $outgoing-body (sub resource)))
    (export "response-outparam" (type $response-outparam (sub resource)))

    (type $dns-error-fields (record
      (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns-error (eq $dns-error-fields)))
    (type $tls-alert-fields (record
      (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $tls-alert (eq $tls-alert-fields)))
    (type $field-size-fields (record
      (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $field-size (eq $field-size-fields)))
    (type $error-code-cases (variant
      (case "DNS-timeout")
      (case "DNS-error" $dns-error)
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
      (case "TLS-alert-received" $tls-alert)
      (case "HTTP-request-denied")
      (case "HTTP-request-length-required")
      (case "HTTP-request-body-size" (option u64))
      (case "HTTP-request-method-invalid")
      (case "HTTP-request-URI-invalid")
      (case "HTTP-request-URI-too-long")
      (case "HTTP-request-header-section-size" (option u32))
      (case "HTTP-request-header-size" (option $field-size))
      (case "HTTP-request-trailer-section-size" (option u32))
      (case "HTTP-request-trailer-size" $field-size)
      (case "HTTP-response-incomplete")
      (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $field-size)
      (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32))
      (case "HTTP-response-trailer-size" $field-size)
      (case "HTTP-response-transfer-coding" (option string))
      (case "HTTP-response-content-coding" (option string))
      (case "HTTP-response-timeout")
      (case "HTTP-upgrade-failed")
      (case "HTTP-protocol-error")
      (case "loop-detected")
      (case "configuration-error")
      (case "internal-error" (option string))))
    (export "error-code" (type $error-code (eq $error-code-cases)))

    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]incoming-request.path-with-query" (func
      (param "self" (borrow $incoming-request)) (result (option string))))
    (export "[constructor]outgoing-response" (func
      (param "headers" (own $fields)) (result (own $outgoing-response))))
    (export "[method]outgoing-response.body" (func
      (param "self" (borrow $outgoing-response)) (result (result (own $outgoing-body)))))
    (export "[method]outgoing-body.write" (func
      (param "self" (borrow $outgoing-body)) (result (result (own $output-stream)))))
    (export "[static]outgoing-body.finish" (func
      (param "this" (own $outgoing-body))
      (param "trailers" (option (own $trailers)))
      (result (result (error $error-code)))))
    (export "[static]response-outparam.set" (func
      (param "param" (own $response-outparam))
      (param "response" (result (own $outgoing-response) (error $error-code)))))))
  (alias export $http-types "incoming-request" (type $incoming-request))
  (alias export $http-types "response-outparam" (type $response-outparam))

  ;; The memory that the canonical ABI copies through: one page, never grown. 0..256 is for
  ;; results, 256..512 for the answer's text, the rest for what `realloc` gives out.
  (core module $Scratch
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 512))
    (func (export "realloc")
      (param $old i32) (param $old-size i32) (param $align i32) (param $size i32)
      (result i32)
      (local $at i32)
      (local.set $at (i32.and
        (i32.sub (i32.add (global.get $next) (local.get $align)) (i32.const 1))
        (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (local.get $at)))
  (core instance $scratch (instantiate $Scratch))
  (alias core export $scratch "memory" (core memory $memory))
  (alias core export $scratch "realloc" (core func $realloc))

  ;; What is grown. Its maximum is the 64 MiB that a limiter for each memory would allow.
  (core module $Hog
    (memory 0 1024)
    ;; Returns how many MiB it got.
    (func (export "grow") (result i32)
      (local $got i32)
      (loop $again
        (if (i32.ne (memory.grow (i32.const 16)) (i32.const -1))
          (then
            (memory.fill
              (i32.shl (local.get $got) (i32.const 20)) (i32.const 1) (i32.const 0x100000))
            (local.set $got (i32.add (local.get $got) (i32.const 1)))
            (br $again))))
      (local.get $got)))
  (core instance $hog-1 (instantiate $Hog))
  (core instance $hog-2 (instantiate $Hog))
  (core instance $hog-3 (instantiate $Hog))

  (core func $fields.new (canon lower (func $http-types "[constructor]fields")))
  (core func $request.path (canon lower
    (func $http-types "[method]incoming-request.path-with-query")
    (memory $memory) (realloc $realloc)))
  (core func $request.drop (canon resource.drop $incoming-request))
  (core func $response.new (canon lower
    (func $http-types "[constructor]outgoing-response")))
  (core func $response.body (canon lower
    (func $http-types "[method]outgoing-response.body") (memory $memory)))
  (core func $outparam.set (canon lower
    (func $http-types "[static]response-outparam.set") (memory $memory)))
  (core func $body.write (canon lower
    (func $http-types "[method]outgoing-body.write") (memory $memory)))
  (core func $body.finish (canon lower
    (func $http-types "[static]outgoing-body.finish") (memory $memory) (realloc $realloc)))
  (core func $stream.write (canon lower
    (func $io-streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core func $stream.drop (canon resource.drop $output-stream))

  (core module $Main
    (import "scratch" "memory" (memory 1))
    (import "hog-1" "grow" (func $grow-1 (result i32)))
    (import "hog-2" "grow" (func $grow-2 (result i32)))
    (import "hog-3" "grow" (func $grow-3 (result i32)))
    (import "host" "fields.new" (func $fields.new (result i32)))
    (import "host" "request.path" (func $request.path (param i32 i32)))
    (import "host" "request.drop" (func $request.drop (param i32)))
    (import "host" "response.new" (func $response.new (param i32) (result i32)))
    (import "host" "response.body" (func $response.body (param i32 i32)))
    (import "host" "outparam.set" (func $outparam.set
      (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "host" "body.write" (func $body.write (param i32 i32)))
    (import "host" "body.finish" (func $body.finish (param i32 i32 i32 i32)))
    (import "host" "stream.write" (func $stream.write (param i32 i32 i32 i32)))
    (import "host" "stream.drop" (func $stream.drop (param i32)))
    (data (i32.const 400) " MiB\n")

    (func (export "handle") (param $request i32) (param $out i32)
      (local $mib i32)
      (local.set $mib (i32.add (i32.add (call $grow-1) (call $grow-2)) (call $grow-3)))
      (if (i32.and
            (i32.lt_u (local.get $mib) (i32.const 192))
            (call $path-is-trap (local.get $request)))
        (then unreachable))
      (call $request.drop (local.get $request))
      (call $answer (local.get $out) (local.get $mib)))

    ;; Whether the path begins with "/t". The result is `option<string>`: tag, pointer, length.
    (func $path-is-trap (param $request i32) (result i32)
      (call $request.path (local.get $request) (i32.const 16))
      (if (result i32) (i32.and
            (i32.load8_u (i32.const 16))
            (i32.ge_u (i32.load (i32.const 24)) (i32.const 2)))
        (then (i32.eq
          (i32.load8_u offset=1 (i32.load (i32.const 20)))
          (i32.const 0x74)))
        (else (i32.const 0))))

    ;; Answers 200 with the number and the unit at 400.
    (func $answer (param $out i32) (param $number i32)
      (local $response i32) (local $body i32) (local $stream i32) (local $text i32)
      (local.set $response (call $response.new (call $fields.new)))
      ;; `result<own<outgoing-body>>`: tag, then the handle.
      (call $response.body (local.get $response) (i32.const 16))
      (local.set $body (i32.load (i32.const 20)))
      ;; The arguments after the handle are the flattened error code, which there is none of.
      (call $outparam.set (local.get $out) (i32.const 0) (local.get $response)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $body.write (local.get $body) (i32.const 16))
      (local.set $stream (i32.load (i32.const 20)))
      (local.set $text (call $digits (local.get $number)))
      (call $stream.write (local.get $stream)
        (local.get $text) (i32.sub (i32.const 405) (local.get $text)) (i32.const 16))
      (call $stream.drop (local.get $stream))
      (call $body.finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 16)))

    ;; Writes the decimal digits so that they end at 400; returns where they begin.
    (func $digits (param $number i32) (result i32)
      (local $at i32)
      (local.set $at (i32.const 400))
      (loop $again
        (local.set $at (i32.sub (local.get $at) (i32.const 1)))
        (i32.store8 (local.get $at)
          (i32.add (i32.const 0x30) (i32.rem_u (local.get $number) (i32.const 10))))
        (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
        (br_if $again (local.get $number)))
      (local.get $at)))

  (core instance $main (instantiate $Main
    (with "scratch" (instance $scratch))
    (with "hog-1" (instance $hog-1))
    (with "hog-2" (instance $hog-2))
    (with "hog-3" (instance $hog-3))
    (with "host" (instance
      (export "fields.new" (func $fields.new))
      (export "request.path" (func $request.path))
      (export "request.drop" (func $request.drop))
      (export "response.new" (func $response.new))
      (export "response.body" (func $response.body))
      (export "outparam.set" (func $outparam.set))
      (export "body.write" (func $body.write))
      (export "body.finish" (func $body.finish))
      (export "stream.write" (func $stream.write))
      (export "stream.drop" (func $stream.drop))))))

  (func $handle
    (param "request" (own $incoming-request))
    (param "response-out" (own $response-outparam))
    (canon lift (core func $main "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))

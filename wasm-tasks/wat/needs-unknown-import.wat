;; A service that needs `acme:missing/thing@1.0.0`, which no node has. The deployment has to be
;; refused by that name; nothing of it may wait for the first request.
(component
  (import "wasi:http/types@0.2.0" (instance $http-types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $http-types "incoming-request" (type $incoming-request))
  (alias export $http-types "response-outparam" (type $response-outparam))

  (import "acme:missing/thing@1.0.0" (instance $thing
    (export "count" (func (result u32)))))
  (core func $count (canon lower (func $thing "count")))

  (core module $Main
    (import "thing" "count" (func $count (result i32)))
    (func (export "handle") (param $request i32) (param $out i32) (drop (call $count))))
  (core instance $main (instantiate $Main
    (with "thing" (instance (export "count" (func $count))))))

  (func $handle
    (param "request" (own $incoming-request))
    (param "response-out" (own $response-outparam))
    (canon lift (core func $main "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))

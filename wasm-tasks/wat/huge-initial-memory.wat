;; Needs a memory of 512 MiB before it can run at all: a node with less for an instance has to
;; refuse it, at deployment or when it starts one, and say why. The handler is never reached
;; under such a limit; where there is more, it traps.
(component
  (import "wasi:http/types@0.2.0" (instance $http-types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $http-types "incoming-request" (type $incoming-request))
  (alias export $http-types "response-outparam" (type $response-outparam))

  (core module $Main
    (memory (export "memory") 8192)
    (func (export "handle") (param $request i32) (param $out i32) unreachable))
  (core instance $main (instantiate $Main))

  (func $handle
    (param "request" (own $incoming-request))
    (param "response-out" (own $response-outparam))
    (canon lift (core func $main "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))

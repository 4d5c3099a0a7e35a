;; Hostile: the core start function never returns, so no instance is ever ready. Fuel and
;; timeout have to hold while an instance is being made, too, not only in the handler.
(component
  (import "wasi:http/types@0.2.0" (instance $http-types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $http-types "incoming-request" (type $incoming-request))
  (alias export $http-types "response-outparam" (type $response-outparam))

  (core module $Main
    (func $start (loop $forever (br $forever)))
    (func (export "handle") (param $request i32) (param $out i32) unreachable)
    (start $start))
  (core instance $main (instantiate $Main))

  (func $handle
    (param "request" (own $incoming-request))
    (param "response-out" (own $response-outparam))
    (canon lift (core func $main "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))

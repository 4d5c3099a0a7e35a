;; A core module that no adapter can turn into a component: it imports from `env`, which is
;; not WASI. A node has to refuse it and say that it wants a component.
(module
  (import "env" "missing" (func $missing (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (drop (call $missing (i32.const 1)))))

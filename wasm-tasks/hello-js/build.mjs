// Builds hello-js.wasm: the engine, with hello.js loaded and its memory snapshotted.

import { componentize } from "@bytecodealliance/componentize-js";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

const { component } = await componentize({
  sourcePath: here("hello.js"),
  witPath: here("../wit"),
  worldName: "service",
});
await writeFile(here("hello-js.wasm"), component);
console.log(`hello-js.wasm: ${component.length} bytes`);

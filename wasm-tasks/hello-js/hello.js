// A task in JavaScript: answers every request with its path and a checksum of it.
//
// `fetch` events are what StarlingMonkey, the engine inside the component, turns an incoming
// request into. Each request gets an instance of its own, so module state is never shared.

const ROUNDS = 1000;

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

function answer(request) {
  const { pathname } = new URL(request.url);
  console.log(`hello-js: ${request.method} ${pathname}`);
  const body = `Hello from JavaScript!\npath: ${pathname}\nchecksum: ${checksum(pathname)}\n`;
  return new Response(body, { headers: { "content-type": "text/plain; charset=utf-8" } });
}

// FNV-1a, 32 bits, over the text a thousand times: something to compute.
function checksum(text) {
  const bytes = new TextEncoder().encode(text);
  let hash = 0x811c9dc5;
  for (let round = 0; round < ROUNDS; round++) {
    for (const byte of bytes) {
      hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
    }
  }
  return hash;
}

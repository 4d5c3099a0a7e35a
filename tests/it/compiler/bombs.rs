//! Components that are small to send and large to compile, written byte by byte (WebAssembly core
//! 2.0, §5, and the binary format of the component model).

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
/// The end of a block.
const END: u8 = 0x0b;

/// A module with so many memories.
pub fn memories(count: usize) -> Vec<u8> {
    around(&[section(5, &vector(vec![vec![0, 1]; count]))])
}

/// Lists of lists of lists.
pub fn nested_types(depth: usize) -> Vec<u8> {
    let outer = (0..depth).map(|inner| [vec![0x70], signed(inner)].concat());
    let types = [vec![0x70, 0x7d]].into_iter().chain(outer).collect();
    [COMPONENT.to_vec(), section(7, &vector(types))].concat()
}

/// A module with a data segment of so many bytes.
pub fn segment(bytes: usize) -> Vec<u8> {
    let memory = section(5, &vector(vec![[vec![0], number(1_000)].concat()]));
    let data = [vec![0, 0x41, 0, END], number(bytes), vec![0x55; bytes]].concat();
    around(&[memory, section(11, &vector(vec![data]))])
}

/// A module with so many functions, all of them empty.
pub fn functions(count: usize) -> Vec<u8> {
    module_of(vec![body(0, &[]); count])
}

/// A module with one function that branches to 60,000 places, a hundred times.
pub fn branches() -> Vec<u8> {
    let targets = [number(60_000), vec![0; 60_001]].concat();
    let branch = [vec![0x02, 0x40, 0x41, 0, 0x0e], targets, vec![END]].concat();
    module_of(vec![body(0, &branch.repeat(100))])
}

/// A module with one function of 20,000 loops, each of which may change any of 5,000 variables.
pub fn live_locals() -> Vec<u8> {
    const LOCALS: usize = 5_000;
    let one = |i: usize| {
        let get = |local: usize| [vec![0x20], number(local % LOCALS)].concat();
        let set = [vec![0x21], number(i % LOCALS)].concat();
        let sum = [get(i), get(i * 7), vec![0x6a], set].concat();
        [vec![0x03, 0x40], sum, get(i * 3), vec![0x0d, 0, END]].concat()
    };
    module_of(vec![body(LOCALS, &(0..20_000).flat_map(one).collect::<Vec<_>>())])
}

/// A component that asks for so many functions of its host.
pub fn imports(count: usize) -> Vec<u8> {
    let imports: String = (0..count).map(|n| format!("(import \"f{n}\" (func))")).collect();
    wat::parse_str(format!("(component {imports})")).expect("a component")
}

/// A component around a module with these functions, which take and return nothing.
fn module_of(bodies: Vec<Vec<u8>>) -> Vec<u8> {
    let types = section(1, &vector(vec![vec![0x60, 0, 0]]));
    let functions = section(3, &vector(vec![vec![0]; bodies.len()]));
    around(&[types, functions, section(10, &vector(bodies))])
}

/// A function with so many variables of 32 bits.
fn body(locals: usize, code: &[u8]) -> Vec<u8> {
    let locals = match locals {
        0 => vec![0],
        count => [vec![1], number(count), vec![0x7f]].concat(),
    };
    let body = [&locals, code, &[END]].concat();
    [number(body.len()), body].concat()
}

/// A component around a core module with these sections.
fn around(sections: &[Vec<u8>]) -> Vec<u8> {
    let module = [MODULE.to_vec(), sections.concat()].concat();
    [COMPONENT.to_vec(), section(1, &module)].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], number(content.len()), content.to_vec()].concat()
}

fn vector(items: Vec<Vec<u8>>) -> Vec<u8> {
    [number(items.len()), items.concat()].concat()
}

/// An unsigned number in LEB128.
fn number(mut rest: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while rest > 0x7f {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// The same number where a sign is expected.
fn signed(rest: usize) -> Vec<u8> {
    let mut bytes = number(rest);
    if let Some(last) = bytes.last_mut().filter(|last| **last & 0x40 != 0) {
        *last |= 0x80;
        bytes.push(0);
    }
    bytes
}

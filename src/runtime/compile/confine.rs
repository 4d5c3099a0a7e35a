//! What the compiler's process takes from itself before it reads what strangers wrote.
//!
//! Limits come first, then whatever needs files or threads, and last the filter: from then on
//! the process can compute, allocate, read what it holds open and write to it. It can open no
//! file, make no socket, start no thread and no program, and map nothing that can be executed.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, getrlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::order::CompileOrder;

/// How far the compiler steps back behind everything else (see nice(2)).
const NICENESS: i32 = 10;
/// Descriptors at most: three are inherited.
const OPEN_FILES: u64 = 16;
/// Address space beyond the memory: the program itself, and what allocators reserve.
const ADDRESS_SPACE_BEYOND: u64 = 2 << 30;
/// CPU time between the signal that says that it is used up and the one that nobody survives.
const LAST_CPU_S: u64 = 2;

/// Sets the limits of this process, which has no other thread yet.
pub(super) fn limit(order: &CompileOrder) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have gone before that.
    if getppid().map(Pid::as_raw_pid) != Some(order.parent) {
        return Err(io::Error::other("whoever asked is gone"));
    }
    let address_space = order.memory_bytes.saturating_add(ADDRESS_SPACE_BEYOND);
    for (resource, soft, hard) in [
        (Resource::Core, 0, 0),
        (Resource::Fsize, 0, 0),
        (Resource::Cpu, order.cpu_s, order.cpu_s + LAST_CPU_S),
        (Resource::Data, order.memory_bytes, order.memory_bytes),
        (Resource::As, address_space, address_space),
        (Resource::Nofile, OPEN_FILES, OPEN_FILES),
    ] {
        let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let [current, maximum] = [soft, hard].map(|limit| Some(limit.min(most)));
        setrlimit(resource, Rlimit { current, maximum })?;
    }
    rustix::process::setpriority_process(None, NICENESS)?;
    // Where memory runs out all the same, this process goes first. Some sandboxes have no such
    // file.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    rustix::thread::set_name(c"wharf-compile")?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Installs the filter on every thread of this process. Calls that it does not know look like
/// those that the kernel does not have.
pub(super) fn shut() -> Result<(), String> {
    let filter = filter().map_err(|error| error.to_string())?;
    seccompiler::apply_filter_all_threads(&filter).map_err(|error| error.to_string())
}

/// What this process can do and must not.
pub(super) fn breaches() -> Vec<&'static str> {
    let quiet = || Command::new("/proc/self/exe").arg("--version").stdout(Stdio::null()).spawn();
    [
        ("it can open files", std::fs::File::open("/proc/self/status").is_ok()),
        ("it can listen", TcpListener::bind(("127.0.0.1", 0)).is_ok()),
        ("it can send", UdpSocket::bind(("127.0.0.1", 0)).is_ok()),
        ("it can make sockets", UnixStream::pair().is_ok()),
        ("it can start threads", std::thread::Builder::new().spawn(|| ()).is_ok()),
        ("it can start programs", quiet().is_ok()),
    ]
    .into_iter()
    .filter_map(|(what, can)| can.then_some(what))
    .collect()
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let rules = rules()?;
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    SeccompFilter::new(rules, absent, SeccompAction::Allow, arch)?.try_into()
}

fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let is = |argument: u8, is: SeccompCmpOp, value: u64| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, value)
    };
    let when = |conditions| Ok::<_, seccompiler::BackendError>(vec![SeccompRule::new(conditions)?]);
    let executable: u64 = libc::PROT_EXEC.unsigned_abs().into();
    let no_code = is(2, SeccompCmpOp::MaskedEq(executable), 0)?;
    let anonymous: u64 = libc::MAP_ANONYMOUS.unsigned_abs().into();
    let no_file = is(3, SeccompCmpOp::MaskedEq(anonymous), anonymous)?;
    let own = rustix::process::getpid().as_raw_pid().unsigned_abs().into();
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_mprotect, when(vec![no_code.clone()])?);
    rules.insert(libc::SYS_mmap, when(vec![no_code, no_file])?);
    // The node may itself have been started with descriptors that every program inherits.
    rules.insert(libc::SYS_read, when(vec![is(0, SeccompCmpOp::Eq, 0)?])?);
    for call in [libc::SYS_write, libc::SYS_writev] {
        rules.insert(call, when(vec![is(0, SeccompCmpOp::Le, 2)?])?);
    }
    // What abort(3) does.
    rules.insert(libc::SYS_tgkill, when(vec![is(0, SeccompCmpOp::Eq, own)?])?);
    Ok(rules)
}

/// What computing needs.
const ALLOWED: [i64; 23] = [
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_rseq,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

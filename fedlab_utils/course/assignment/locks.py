"""Lock this process up before a student's code runs in it: files, system calls, resources.

Two features of Linux do it, and neither needs rights or a container. Landlock lets the process see
only the files it is given. A seccomp filter refuses the system calls that start processes, open
network connections, or reach other processes. Both hold for everything that the process does later
and cannot be undone. They must be applied while it has one thread, so this module imports nothing
but the standard library.

Sources: docs.kernel.org/userspace-api/landlock.html, docs.kernel.org/userspace-api/
seccomp_filter.html.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Iterable
from typing import Any

# (x86-64, aarch64); None where the call does not exist.
Numbers = tuple[int | None, int | None]
_REFUSED: dict[str, Numbers] = {
    # other programs, other processes
    **{"fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281)},
    **{"tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240)},
    **{"pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438)},
    **{"ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271)},
    **{"process_madvise": (440, 440), "kcmp": (312, 272), "setpriority": (141, 140)},
    **{"sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "ioprio_set": (251, 30)},
    "sched_setattr": (314, 274),
    # the network, and memory that processes share
    **{"socket": (41, 198), "socketpair": (53, 199), "io_uring_setup": (425, 425)},
    **{"shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180)},
    # what Landlock leaves open: owners, rights, times and other attributes of files
    **{"chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452)},
    **{"chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54)},
    **{"setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "truncate": (76, 45)},
    **{"removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16)},
    **{"setxattrat": (463, 463), "removexattrat": (466, 466), "fanotify_init": (300, 262)},
    **{"utime": (132, None), "utimes": (235, None), "futimesat": (261, None)},
    **{"utimensat": (280, 88), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265)},
    # the machine
    **{"mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51)},
    **{"setns": (308, 268), "unshare": (272, 97), "mount_setattr": (442, 442), "acct": (163, 89)},
    **{"open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430)},
    **{"fsmount": (432, 432), "bpf": (321, 280), "perf_event_open": (298, 241)},
    **{"userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217)},
    **{"request_key": (249, 218), "init_module": (175, 105), "finit_module": (313, 273)},
    **{"kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142)},
    **{"swapon": (167, 224), "swapoff": (168, 225), "quotactl": (179, 60)},
    **{"settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266)},
    **{"adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162)},
    "personality": (135, 92),
}
_CLONE, _CLONE3, _FCNTL, _IOCTL = (56, 220), (435, 435), (72, 25), (16, 29)
_ON_SELF = {"kill": (62, 129), "tgkill": (234, 131)}
_ON_ZERO = {"prlimit64": (302, 261), "sched_setaffinity": (203, 122)}
_CLONE_THREAD = 0x10000
_OWNERS_OF_SIGNALS = (8, 15)  # F_SETOWN, F_SETOWN_EX: a pipe could signal any process
_SOCKET_OWNERS = (0x8901, 0x8902)  # FIOSETOWN, SIOCSPGRP
_AUDIT_ARCH = (0xC000003E, 0xC00000B7)
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_READ_FILE, _READ_DIR, _WRITE = 1 << 2, 1 << 3, 1 << 1
_TRUNCATE = 1 << 14
_OWN_FOLDER = _READ_FILE | _READ_DIR | _WRITE | _TRUNCATE | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8
_FILE_RIGHTS = _READ_FILE | _WRITE | _TRUNCATE
_HANDLED = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many file rights each version knows


def machine() -> int | None:
    """The column of this processor in the tables above; None for one they do not know."""
    known = {"x86_64": 0, "aarch64": 1}
    return known.get(platform.machine()) if platform.system() == "Linux" else None


def missing() -> list[str]:
    """Which of the two locks this system does not have; [] if both are there."""
    lacking = []
    if machine() is None or _libc().prctl(21, 0, 0, 0, 0) < 0:  # PR_GET_SECCOMP
        lacking.append("seccomp")
    if machine() is None or landlock_version() < 1:
        lacking.append("Landlock")
    return lacking


def landlock_version() -> int:
    """The version of Landlock that the kernel offers; below 1 for none."""
    return int(_libc().syscall(444, None, 0, 1))


def limit(*, seconds: int, memory_mb: int, disk_mb: int) -> None:
    """Set the limits of resources: processor time, memory of its own, size of one file, files.

    Processor time gets two seconds more, so that code in an endless loop meets the deadline first,
    which says what happened; at this limit the system kills without a word.
    """
    for what, value in (
        (resource.RLIMIT_CPU, seconds + 2),
        (resource.RLIMIT_DATA, memory_mb << 20),
        (resource.RLIMIT_FSIZE, disk_mb << 20),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)
        resource.setrlimit(what, (value, value))


def lock(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Apply both locks. Raises OSError if one cannot be applied."""
    _restrict_files(readable, writable)
    _restrict_calls()


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _restrict_files(readable: Iterable[str], writable: Iterable[str]) -> None:
    libc, version = _libc(), landlock_version()
    handled = (1 << _HANDLED.get(version, 16)) - 1
    # From version 4 on TCP, from version 6 on abstract sockets and signals.
    words = [handled] + ([3] if version >= 4 else []) + ([3] if version >= 6 else [])
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = _checked(libc.syscall(444, attributes, len(attributes), 0), "Landlock")
    for paths, rights in ((readable, _READ_FILE | _READ_DIR), (writable, _OWN_FOLDER)):
        for path in paths:
            try:
                parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue  # what is not there need not be seen
            allowed = rights & handled if os.path.isdir(path) else rights & handled & _FILE_RIGHTS
            rule = struct.pack("=Qi", allowed, parent)
            _checked(libc.syscall(445, ruleset, 1, rule, 0), f"Landlock, {path}")
            os.close(parent)
    _checked(libc.prctl(38, 1, 0, 0, 0), "no_new_privs")
    _checked(libc.syscall(446, ruleset, 0), "Landlock")
    os.close(ruleset)


def program(column: int, pid: int) -> list[tuple[int, int, int, int]]:
    """The filter as instructions (code, jump if true, jump if false, operand).

    Args:
        column: the processor's column in the tables.
        pid: the process that may be signalled: this one.
    """
    refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    allow = (_RETURN, 0, 0, _ALLOW)

    def argument(index: int) -> tuple[int, int, int, int]:
        return (_LOAD, 0, 0, 16 + 8 * index)

    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, _AUDIT_ARCH[column]), (_RETURN, 0, 0, _KILL)]
    steps.append((_LOAD, 0, 0, 0))
    if column == 0:  # x32's calls have numbers of their own
        steps += [(_AT_LEAST, 0, 1, 0x40000000), refuse]
    for numbers in _REFUSED.values():
        if (number := numbers[column]) is not None:
            steps += [(_EQUAL, 0, 1, number), refuse]
    # The C library falls back to clone, whose flags can be read here.
    steps += [(_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    threads = [argument(0), (_ANY_BIT, 0, 1, _CLONE_THREAD), allow, refuse]
    steps += [(_EQUAL, 0, len(threads), _CLONE[column]), *threads]
    for table, value in ((_ON_SELF, pid), (_ON_ZERO, 0)):
        for numbers in table.values():
            only = [argument(0), (_EQUAL, 0, 1, value), allow, refuse]
            steps += [(_EQUAL, 0, len(only), numbers[column]), *only]
    for numbers, forbidden in ((_FCNTL, _OWNERS_OF_SIGNALS), (_IOCTL, _SOCKET_OWNERS)):
        one, two = forbidden
        never = [argument(1), (_EQUAL, 2, 0, one), (_EQUAL, 1, 0, two), allow, refuse]
        steps += [(_EQUAL, 0, len(never), numbers[column]), *never]
    return [*steps, allow]


def _restrict_calls() -> None:
    column = machine()
    if column is None:
        raise OSError(errno.ENOSYS, "no filter of system calls for this processor")
    steps = program(column, os.getpid())
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a short, padding, a pointer.
    filter_ = struct.pack("=H6xQ", len(steps), ctypes.addressof(buffer))
    libc = _libc()
    _checked(libc.prctl(38, 1, 0, 0, 0), "no_new_privs")
    _checked(libc.prctl(22, 2, filter_, 0, 0), "seccomp")  # PR_SET_SECCOMP, a filter

//! What a process at rest gives back.
//!
//! Starting and calling touch code that waiting never does. Under pressure the kernel would drop such pages by itself;
//! a phone at rest does not wait for the pressure, because on a phone the largest sleeper is ended first.

/// Gives back the pages of code, which come again from the page cache when they are run, and the heap's free ones.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn give_back() {
    // Without /proc nothing is given back, and nothing is lost.
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for (start, length) in maps.lines().filter_map(code) {
        discard(start, length);
    }
    trim_heap();
}

/// Elsewhere the system decides alone.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn give_back() {}

/// Start and length of a mapping, when it is code from a file: executable, private, never written.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (rights, _offset, _device, _inode, path) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    if rights != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[expect(unsafe_code, reason = "the only way to the kernel's advice")]
fn discard(start: usize, length: usize) {
    // SAFETY: the range is a whole mapping that the kernel has just named; it is readable and executable but not
    // writable, and backed by a file, so that every page of it is clean and comes again from the file when it is touched.
    // Nothing in memory changes its value.
    let refused = unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) } != 0;
    if refused {
        tracing::debug!(error = %std::io::Error::last_os_error(), "memory not given back");
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library's heap has no other handle")]
fn trim_heap() {
    // SAFETY: takes the allocator's own locks and touches free memory only.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(any(target_os = "android", all(target_os = "linux", not(target_env = "gnu"))))]
fn trim_heap() {}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn only_code_from_files_is_given_back() {
        let line = |rights: &str, path: &str| format!("5000-7000 {rights} 00001000 fe:00 12345   {path}");
        assert_eq!(code(&line("r-xp", "/usr/bin/wakeline")), Some((0x5000, 0x2000)));
        assert_eq!(code(&line("r-xp", "/a folder/wakeline")), Some((0x5000, 0x2000)));
        for (rights, path) in [
            ("rwxp", "/usr/bin/wakeline"),
            ("r--p", "/lib/libc.so.6"),
            ("r-xs", "/dev/x"),
            ("r-xp", "[vdso]"),
            ("r-xp", ""),
        ] {
            assert_eq!(code(&line(rights, path)), None, "{rights} {path}");
        }
        assert_eq!(code("nonsense"), None);
    }

    #[test]
    fn what_was_given_back_comes_again() {
        let resident = || {
            let smaps = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
            let rss = smaps.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
            rss.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        let sum = |upto: u64| (0..upto).map(|n| n.rotate_left(3)).sum::<u64>();
        let (before, expected) = (resident(), sum(1000));
        give_back();
        assert!(resident() < before, "{} of {before} KiB", resident());
        assert_eq!(sum(1000), expected);
    }
}

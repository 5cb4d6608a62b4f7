//! The files of the spool: creating, allocating, listing, syncing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::segment;

/// Marks the folder of a log whose disk failed, so that a later start recovers it with doubt.
const POISONED: &str = "poisoned";

pub(crate) fn log_folder(spool: &Path, incarnation: u64) -> PathBuf {
    spool.join(segment::folder_name(incarnation))
}

pub(crate) fn segment_path(log: &Path, number: u32) -> PathBuf {
    log.join(segment::file_name(number))
}

/// Creates a folder for our own eyes, and its parents.
pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    folder.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_folder)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates a file of `bytes` zero bytes that has its room on the disk. Nothing is left of it when that fails.
pub(crate) fn create_segment(path: &Path, bytes: u64) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
    allocate(&file, bytes).inspect_err(|_| drop(fs::remove_file(path)))?;
    Ok(file)
}

fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, bytes) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => write_zeros(file, bytes),
        result => result,
    }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn fallocate(file: &File, bytes: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let length = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    loop {
        // SAFETY: the descriptor is open for as long as `file` is borrowed; the call touches no memory of ours.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP | libc::ENOSYS) => return Err(io::ErrorKind::Unsupported.into()),
            _ => return Err(error),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn fallocate(_: &File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The slow way to have room, for file systems that cannot allocate.
fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    const CHUNK: u64 = 1 << 20;
    let zeros = vec![0; CHUNK as usize];
    let mut at = 0;
    while at < bytes {
        let chunk = CHUNK.min(bytes - at);
        write_whole(file, &zeros[..chunk as usize], at)?;
        at += chunk;
    }
    Ok(())
}

/// One write; a short one is an error, since what it left cannot be trusted.
pub(crate) fn write_whole(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    loop {
        match file.write_at(bytes, at) {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads up to `bytes` from `at` into `buffer`, which grows as needed; gives what was read, less only at the file's end.
pub(crate) fn read_at<'a>(file: &File, at: u64, bytes: usize, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    if buffer.len() < bytes {
        buffer.resize(bytes, 0);
    }
    let mut filled = 0;
    while filled < bytes {
        match file.read_at(&mut buffer[filled..bytes], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&buffer[..filled])
}

/// The incarnations that have a folder; names that are not ours are left alone.
pub(crate) fn incarnations(spool: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(spool)? {
        found.extend(entry?.file_name().to_str().and_then(segment::parse_folder_name));
    }
    found.sort_unstable();
    Ok(found)
}

/// The segments of a log with their lengths, in order.
pub(crate) fn segments(log: &Path) -> io::Result<Vec<(u32, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(log)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(segment::parse_file_name) {
            found.push((number, entry.metadata()?.len()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Deletes a log with all its segments, the last one last: what is left by an interrupted deletion still ends with `closed`.
pub(crate) fn remove_log(spool: &Path, log: &Path) -> io::Result<()> {
    for (number, _) in segments(log)? {
        fs::remove_file(segment_path(log, number))?;
    }
    match fs::remove_file(log.join(POISONED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::remove_dir(log)?;
    sync_folder(spool)
}

/// Best effort: the disk that failed may fail again, and then the next recovery judges by what it can read.
pub(crate) fn mark_poisoned(log: &Path) {
    let marked = File::create(log.join(POISONED)).and_then(|file| file.sync_all()).and_then(|()| sync_folder(log));
    if let Err(error) = marked {
        tracing::warn!(%error, log = %log.display(), "a poisoned spool log could not be marked");
    }
}

pub(crate) fn is_poisoned(log: &Path) -> io::Result<bool> {
    log.join(POISONED).try_exists()
}

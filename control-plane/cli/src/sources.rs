//! Files and folders, read as named sources.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::error::Error;

/// What files are documents, by the end of their names.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Bytes of standard input: as many as one source may have, and one more to notice that.
const INPUT_BYTES: u64 = waybill_model::document::SOURCE_BYTES as u64 + 1;

/// Reads files, folders (their documents by name, without folders in them) and `-`.
pub fn read(paths: &[PathBuf]) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().take(INPUT_BYTES).read_to_end(&mut bytes);
            read.map_err(|error| Error::Usage(format!("standard input cannot be read: {error}")))?;
            sources.push(("(standard input)".to_owned(), bytes));
        } else if path.is_dir() {
            let files = documents_of(path)?;
            if files.is_empty() {
                return Err(Error::Usage(format!("{} holds no .yaml, .yml or .json file", path.display())));
            }
            for file in files {
                sources.push(read_file(&file)?);
            }
        } else {
            sources.push(read_file(path)?);
        }
    }
    Ok(sources)
}

fn read_file(path: &Path) -> Result<(String, Vec<u8>), Error> {
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    Ok((path.display().to_string(), bytes))
}

fn documents_of(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let paths: Result<Vec<PathBuf>, io::Error> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(|error| unreadable(folder, &error))?;
    paths.retain(|path| path.is_file() && path.extension().and_then(|end| end.to_str()).is_some_and(|end| ENDINGS.contains(&end)));
    paths.sort();
    Ok(paths)
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::Usage(format!("{} cannot be read: {error}", path.display()))
}

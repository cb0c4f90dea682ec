//! A report as files.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::Report;
use crate::error::BoxError;

/// The folder for reports: `KV_CONFORMANCE_REPORT`, if it is set and not empty.
pub(crate) fn folder() -> Option<PathBuf> {
    env::var_os("KV_CONFORMANCE_REPORT").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

impl Report {
    /// The report as JSON, as [`from_json`](Self::from_json) reads it.
    ///
    /// # Errors
    /// No error is known: everything in a report can be written as JSON.
    pub fn to_json(&self) -> Result<String, BoxError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads a report that was written as JSON by this version of the crate.
    ///
    /// # Errors
    /// The text is not such a report; the message says where.
    pub fn from_json(json: &str) -> Result<Self, BoxError> {
        Ok(serde_json::from_str(json)?)
    }

    /// Writes the report into a folder, as `<package>.<suite>.json` and `<package>.<suite>.md`. This makes the folder if it does not exist,
    /// and replaces existing files. In a name, a character that is neither a letter nor a digit nor one of `-._` is written as `%` and its
    /// bytes.
    ///
    /// # Errors
    /// The folder or the files cannot be written; the message says which.
    pub fn write_to(&self, folder: impl AsRef<Path>) -> Result<(), BoxError> {
        let folder = folder.as_ref();
        let cannot = |path: &Path, error| format!("the report cannot be written to {}: {error}", path.display());
        fs::create_dir_all(folder).map_err(|error| cannot(folder, error))?;
        for (extension, text) in [("json", self.to_json()?), ("md", self.to_markdown())] {
            let path = folder.join(format!("{}.{extension}", self.file_stem()));
            fs::write(&path, text).map_err(|error| cannot(&path, error))?;
        }
        Ok(())
    }

    fn file_stem(&self) -> String {
        let package = self.package.as_ref().map(|package| package.name.as_str());
        package.into_iter().chain([self.suite.as_str()]).map(file_name).collect::<Vec<_>>().join(".")
    }
}

fn file_name(text: &str) -> String {
    let byte = |byte: u8| match char::from(byte) {
        plain if plain.is_ascii_alphanumeric() || "-._".contains(plain) => plain.to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn json_comes_back_as_it_was() {
        for report in [example::memory(), example::cannot_list(), example::broken(), example::partial()] {
            let json = report.to_json().unwrap();
            assert_eq!(Report::from_json(&json).unwrap(), report, "{json}");
        }
        let error = Report::from_json("{\"suite\": \"tcp\"}").unwrap_err();
        assert!(error.to_string().contains("missing field"), "{error}");
    }

    #[test]
    fn json_is_for_people_and_tools() {
        let json = example::broken().to_json().unwrap();
        for part in [
            "\"suite\": \"broken\"",
            "\"clauses\": [\n        \"G1\"",
            "\"verdict\": \"failed\",\n      \"message\": \"expected: None | got: Some\\n```\"",
            "\"verdict\": \"passed\",\n      \"took\"",
            "\"seed\": 18446744073709551615",
        ] {
            assert!(json.contains(part), "{part} is not in {json}");
        }
    }

    #[test]
    fn the_files_are_named_after_package_and_suite() {
        let folder = tempfile::tempdir().unwrap();
        let report = Report { suite: "a/b é".into(), ..example::memory() };
        report.write_to(folder.path().join("new/folder")).unwrap();
        let read = |extension: &str| {
            fs::read_to_string(folder.path().join("new/folder").join(format!("kv-memory.a%2Fb%20%C3%A9.{extension}")))
        };
        assert_eq!(Report::from_json(&read("json").unwrap()).unwrap(), report);
        assert_eq!(read("md").unwrap(), report.to_markdown());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = example::memory().write_to(file.path()).unwrap_err();
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }
}

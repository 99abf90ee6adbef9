//! The GitHub runner, as far as a step notices it: file commands, masks, variables for the steps that follow.
//!
//! See <https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions>.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::doors;

/// The files that each step gets anew.
const FILES: [&str; 4] = ["GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_STEP_SUMMARY"];

/// One runner with one job.
pub(crate) struct Runner {
    directory: PathBuf,
    steps: usize,
    masks: Vec<String>,
}

impl Runner {
    /// A runner that keeps its files here.
    pub(crate) fn new(temporary: &Path) -> Self {
        Self { directory: temporary.join("_runner_file_commands"), steps: 0, masks: Vec::new() }
    }

    /// Makes the files of the next step; returns the variables that name them.
    pub(crate) fn step(&mut self) -> io::Result<BTreeMap<String, String>> {
        self.steps += 1;
        let mut variables = BTreeMap::new();
        for name in FILES {
            let path = self.directory.join(format!("{}_{}", name.to_lowercase(), self.steps));
            doors::make_file(&path, "")?;
            variables.insert(name.to_owned(), path.to_string_lossy().into_owned());
        }
        Ok(variables)
    }

    /// What the log shows of a step's output: what has been masked, and is from here on, is three asterisks.
    pub(crate) fn log(&mut self, output: &str) -> String {
        let mut log = String::new();
        for line in output.lines() {
            let mut shown = match line.trim_start().strip_prefix("::add-mask::") {
                Some(value) => {
                    self.masks.push(value.to_owned());
                    // The longest first, as one may be a part of another.
                    self.masks.sort_by_key(|mask| std::cmp::Reverse(mask.len()));
                    "::add-mask::***".to_owned()
                }
                None => line.to_owned(),
            };
            for mask in &self.masks {
                shown = shown.replace(mask, "***");
            }
            log += &(shown + "\n");
        }
        log
    }

    /// What the step of these variables has exported to the steps after it.
    pub(crate) fn exported(step: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
        let text = fs::read_to_string(&step["GITHUB_ENV"]).context("the step has removed its GITHUB_ENV")?;
        let mut lines = text.lines();
        let mut exported = BTreeMap::new();
        while let Some(line) = lines.next() {
            let (name, delimiter) = line.split_once("<<").context("GITHUB_ENV holds a line that is no record")?;
            let value: Vec<_> = lines.by_ref().take_while(|line| *line != delimiter).collect();
            exported.insert(name.to_owned(), value.join("\n"));
        }
        Ok(exported)
    }

    /// Ends the job: its files go, as with everything else in its temporary directory.
    pub(crate) fn end(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.directory)
    }
}

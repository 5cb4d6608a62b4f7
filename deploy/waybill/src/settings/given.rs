//! The settings of a role on the command line and in the environment, made from its schema.

use std::{ffi::OsString, marker::PhantomData, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};

use super::{Role, fault::Origin, leaf::Form};

/// One setting, as text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Text {
    pub path: String,
    pub text: String,
    pub origin: Origin,
}

/// What was given beside the file.
#[derive(Clone, Debug)]
pub struct Given<R> {
    /// The file of settings.
    pub file: Option<PathBuf>,
    pub texts: Vec<Text>,
    role: PhantomData<R>,
}

/// Name of the flag that names the file.
const FILE: &str = "config";

impl<R: Role> Args for Given<R> {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE)
            .long(FILE)
            .value_name("FILE")
            .env("WAYBILL_CONFIG")
            .value_parser(clap::value_parser!(PathBuf))
            .help("A file of settings (YAML or JSON). A flag stands above a variable, a variable above the file");
        R::leaves().iter().fold(command.arg(file), |command, leaf| {
            let help = match &leaf.default {
                Some(default) if !default.is_empty() => format!("{} [default: {default}]", leaf.help),
                _ => leaf.help.clone(),
            };
            let arg =
                Arg::new(leaf.path.as_str()).long(leaf.flag.as_str()).env(leaf.variable.as_str()).help(help).action(ArgAction::Append);
            command.arg(match leaf.form {
                Form::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOL"),
                Form::Number => arg.value_name("NUMBER"),
                Form::List => arg.value_name("TEXT,…"),
                Form::Map => arg.value_name("NAME=VALUE,…"),
                Form::Text => arg.value_name("TEXT"),
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<R: Role> FromArgMatches for Given<R> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut texts = Vec::new();
        for leaf in R::leaves() {
            let origin = match matches.value_source(&leaf.path) {
                Some(ValueSource::CommandLine) => Origin::Flag(leaf.flag.clone()),
                Some(ValueSource::EnvVariable) => Origin::Variable(leaf.variable.clone()),
                _ => continue,
            };
            let values: Vec<&String> = matches.get_many(&leaf.path).into_iter().flatten().collect();
            let several = matches!(leaf.form, Form::List | Form::Map);
            if values.len() > 1 && !several {
                let message = format!("--{} was given {} times: it has one value", leaf.flag, values.len());
                return Err(clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, message));
            }
            let text = values.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(",");
            // An empty variable is how many tools leave one out.
            if text.is_empty() && matches!(origin, Origin::Variable(_)) {
                continue;
            }
            texts.push(Text { path: leaf.path.clone(), text, origin });
        }
        let file: Option<PathBuf> = matches.get_one::<PathBuf>(FILE).filter(|path| **path != OsString::new()).cloned();
        Ok(Self { file, texts, role: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

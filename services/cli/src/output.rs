//! Results: JSON as Protobuf maps it, under the names of the proto; tables are chosen members of the same JSON, or of rows
//! that say them as people read them.

use std::io::Write as _;

use anyhow::Context;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Prints messages.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    descriptors: DescriptorPool,
}

/// A column of a table: its title, and the member it shows (`a/b` looks inside).
pub(crate) type Column = (&'static str, &'static str);

impl Output {
    pub(crate) fn new(format: Format) -> anyhow::Result<Self> {
        let descriptors =
            DescriptorPool::decode(ursa_proto::DESCRIPTORS).context("the protocol's description is broken")?;
        Ok(Self { format, descriptors })
    }

    /// How it prints.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Prints what is no message: `json` for programs, `rows` for people.
    pub(crate) fn print_rows(&self, json: &Value, rows: &[Value], columns: &[Column]) -> anyhow::Result<()> {
        line(&match self.format {
            Format::Json => serde_json::to_string_pretty(json)?,
            Format::Table => table(rows, columns),
        })
    }

    /// Prints an answer: all of it as JSON, or the rows of `list` (the answer itself when empty) as a table.
    pub(crate) fn print(
        &self,
        message: &impl Message,
        name: &str,
        list: &str,
        columns: &[Column],
    ) -> anyhow::Result<()> {
        let value = self.to_json(message, name)?;
        let text = match self.format {
            Format::Json => serde_json::to_string_pretty(&value)?,
            Format::Table if list.is_empty() => table(std::slice::from_ref(&value), columns),
            Format::Table => table(value[list].as_array().map_or(&[], Vec::as_slice), columns),
        };
        line(&text)
    }

    /// Prints an answer: all of it as JSON, or `rows` as a table.
    pub(crate) fn print_shown(
        &self,
        message: &impl Message,
        name: &str,
        rows: impl FnOnce() -> Vec<Value>,
        columns: &[Column],
    ) -> anyhow::Result<()> {
        line(&match self.format {
            Format::Json => serde_json::to_string_pretty(&self.to_json(message, name)?)?,
            Format::Table => table(&rows(), columns),
        })
    }

    /// Prints an answer: all of it as JSON, or `text`.
    pub(crate) fn print_text(
        &self,
        message: &impl Message,
        name: &str,
        text: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        line(&match self.format {
            Format::Json => serde_json::to_string_pretty(&self.to_json(message, name)?)?,
            Format::Table => text(),
        })
    }

    /// Prints an answer that people are told in one sentence.
    pub(crate) fn print_done(&self, message: &impl Message, name: &str, sentence: &str) -> anyhow::Result<()> {
        match self.format {
            Format::Json => line(&serde_json::to_string_pretty(&self.to_json(message, name)?)?),
            Format::Table => line(sentence),
        }
    }

    /// A message as JSON, with the proto's names and every member there.
    fn to_json(&self, message: &impl Message, name: &str) -> anyhow::Result<Value> {
        let full_name = format!("ursa.v1.{name}");
        let descriptor = self.descriptors.get_message_by_name(&full_name);
        let descriptor = descriptor.with_context(|| format!("there is no message {full_name}"))?;
        let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
        let options = SerializeOptions::new()
            .use_proto_field_name(true)
            .skip_default_fields(false)
            .stringify_64_bit_integers(false);
        Ok(dynamic.serialize_with_options(serde_json::value::Serializer, &options)?)
    }
}

/// Facts as lines, those without a word left out.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let known = facts.iter().filter(|(_, fact)| !fact.is_empty());
    known.map(|(name, fact)| format!("{name:<12} {fact}")).collect::<Vec<_>>().join("\n")
}

/// Prints a line of result. A reader that has gone is no error worth a word.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    line_if_read(text).map(drop)
}

/// Prints a line of result, and says whether its reader is still there.
pub(crate) fn line_if_read(text: &str) -> anyhow::Result<bool> {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Rows as lines, under the titles of the columns.
pub(crate) fn table(rows: &[Value], columns: &[Column]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(columns.iter().map(|(title, _)| *title));
    for row in rows {
        table.add_row(columns.iter().map(|(_, member)| cell(row, member)));
    }
    table.to_string()
}

fn cell(row: &Value, member: &str) -> String {
    match row.pointer(&format!("/{member}")) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(counts)) => {
            counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        }
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item["name"].as_str().or(item.as_str()).map_or_else(|| item.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(", "),
        Some(other) => other.to_string(),
    }
}

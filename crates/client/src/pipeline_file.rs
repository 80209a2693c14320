//! Pipeline files: YAML that people write, read into the request the coordinator takes.

//! Tests of `Chat`.

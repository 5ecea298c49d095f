//! `detectable_content:*`: placeholders and postscripts.

use super::super::gsm8k::pattern;
use super::Check;
use super::arguments::Arguments;
use crate::error::Result;

/// At least `num_placeholders` in square brackets.
pub(super) fn placeholders(given: &Arguments) -> Result<Check> {
    let number = given.number("num_placeholders")?;
    let placeholder = pattern(r"\[.*?\]")?;
    Ok(Box::new(move |response| {
        placeholder.find_iter(response).count() >= number
    }))
}

/// A postscript behind `postscript_marker`, in either case.
pub(super) fn postscript(given: &Arguments) -> Result<Check> {
    let marker = given.text("postscript_marker")?;
    let found = match marker.as_str() {
        "P.P.S" => pattern(r"p\.\s?p\.\s?s")?,
        "P.S." => pattern(r"p\.\s?s\.")?,
        other => super::keywords::pattern(&other.to_lowercase())?,
    };
    Ok(Box::new(move |response| {
        found.is_match(&response.to_lowercase())
    }))
}

#[cfg(test)]
mod tests {
    use super::super::of;

    #[test]
    fn placeholders_and_postscripts_are_found() {
        let two = of(
            "detectable_content:number_placeholders",
            r#"{"num_placeholders": 2}"#,
        );
        assert!(two("Dear [name] of [town]"));
        assert!(!two("Dear [name]"));
        let postscript = of(
            "detectable_content:postscript",
            r#"{"postscript_marker": "P.S."}"#,
        );
        assert!(postscript("Bye.\np. s. I am well."));
        assert!(!postscript("Bye. P.P.S I am well"));
        let second = of(
            "detectable_content:postscript",
            r#"{"postscript_marker": "P.P.S"}"#,
        );
        assert!(second("P. P.S. once more"));
        assert!(!second("P.S. once"));
    }
}

//! `startend:*`: how a response begins and ends.

use super::Check;
use super::arguments::Arguments;
use crate::error::Result;

/// The response ends with `end_phrase`; case and quotation marks around the response do not count.
pub(super) fn end(given: &Arguments) -> Result<Check> {
    let phrase = given.text("end_phrase")?.to_lowercase();
    Ok(Box::new(move |response| {
        response
            .trim()
            .trim_matches('"')
            .to_lowercase()
            .ends_with(&phrase)
    }))
}

/// The whole response stands in double quotation marks.
pub(super) fn quotation(response: &str) -> bool {
    let text = response.trim();
    text.len() > 1 && text.starts_with('"') && text.ends_with('"')
}

#[cfg(test)]
mod tests {
    use super::super::of;
    use super::*;

    #[test]
    fn ends_are_looked_at() {
        let end = of(
            "startend:end_checker",
            r#"{"end_phrase": "Any other questions?"}"#,
        );
        assert!(end("\"It is so. any other questions?\" "));
        assert!(!end("Any other questions? No."));
        assert!(quotation(" \"So it is.\" "));
        assert!(!quotation("\"So\" it is."));
        assert!(!quotation("\""));
    }
}

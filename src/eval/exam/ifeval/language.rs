//! `language:*`: the language of a response, told by `whatlang` where the original asks `langdetect`.

use super::Check;
use super::arguments::Arguments;
use crate::error::{Error, Result};
use whatlang::{Lang, detect};

/// The response is in `language`, an ISO 639-1 code. A text of which no language can be told counts as following, as in
/// the original.
pub(super) fn response(given: &Arguments) -> Result<Check> {
    let code = given.text("language")?;
    let Some(language) = language(&code) else {
        return Err(Error::data(format!(
            "duel cannot tell the language `{code}`"
        )));
    };
    Ok(Box::new(move |response| is_in(response, language)))
}

/// Whether the language that is asked for can be told.
pub(super) fn is_known(given: &Arguments) -> bool {
    given
        .text("language")
        .is_ok_and(|code| language(&code).is_some())
}

/// Whether a text is in a language, or in none that can be told.
pub(super) fn is_in(text: &str, language: Lang) -> bool {
    detect(text).is_none_or(|found| found.lang() == language)
}

fn language(code: &str) -> Option<Lang> {
    Some(match code {
        "ar" => Lang::Ara,
        "bg" => Lang::Bul,
        "bn" => Lang::Ben,
        "cs" => Lang::Ces,
        "da" => Lang::Dan,
        "de" => Lang::Deu,
        "el" => Lang::Ell,
        "en" => Lang::Eng,
        "es" => Lang::Spa,
        "et" => Lang::Est,
        "fa" => Lang::Pes,
        "fi" => Lang::Fin,
        "fr" => Lang::Fra,
        "gu" => Lang::Guj,
        "he" => Lang::Heb,
        "hi" => Lang::Hin,
        "hr" => Lang::Hrv,
        "hu" => Lang::Hun,
        "id" => Lang::Ind,
        "it" => Lang::Ita,
        "ja" => Lang::Jpn,
        "kn" => Lang::Kan,
        "ko" => Lang::Kor,
        "lt" => Lang::Lit,
        "lv" => Lang::Lav,
        "mk" => Lang::Mkd,
        "ml" => Lang::Mal,
        "mr" => Lang::Mar,
        "ne" => Lang::Nep,
        "nl" => Lang::Nld,
        "no" => Lang::Nob,
        "pa" => Lang::Pan,
        "pl" => Lang::Pol,
        "pt" => Lang::Por,
        "ro" => Lang::Ron,
        "ru" => Lang::Rus,
        "sk" => Lang::Slk,
        "sl" => Lang::Slv,
        "sv" => Lang::Swe,
        "ta" => Lang::Tam,
        "te" => Lang::Tel,
        "th" => Lang::Tha,
        "tr" => Lang::Tur,
        "uk" => Lang::Ukr,
        "ur" => Lang::Urd,
        "vi" => Lang::Vie,
        "zh" | "zh-cn" | "zh-tw" => Lang::Cmn,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::of;

    #[test]
    fn a_language_is_told() {
        let german = of("language:response_language", r#"{"language": "de"}"#);
        assert!(german(
            "Der Hund liegt unter dem Tisch und schläft seit heute Morgen."
        ));
        assert!(!german(
            "The dog has been lying under the table since this morning."
        ));
        assert!(of("language:response_language", r#"{"language": "kn"}"#)(
            "ಇದು ಒಂದು ಪರೀಕ್ಷೆ"
        ));
    }
}

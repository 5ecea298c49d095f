//! Numbers and text as the page writes them.

/// Text that is safe anywhere in the page, in attributes too. Control characters, which HTML forbids and
/// a model may well write, become the replacement character.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// About four significant digits, with a real minus: `−0.765`, `12.34`, `5e−7`.
pub(super) fn number(number: f64) -> String {
    if !number.is_finite() {
        return "–".to_owned();
    }
    let size = number.abs();
    let text = match size {
        0.0 => "0".to_owned(),
        _ if !(1e-3..1e6).contains(&size) => scientific(number),
        _ if size < 10.0 => format!("{number:.3}"),
        _ if size < 100.0 => format!("{number:.2}"),
        _ if size < 1000.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    };
    text.replace('-', "−")
}

/// `5e-7`, `1.25e-4`: no digits that say nothing.
fn scientific(number: f64) -> String {
    let text = format!("{number:.2e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            format!("{digits}e{exponent}")
        }
        None => text,
    }
}

/// A share of one: `71.3 %`.
pub(super) fn percent(share: f64) -> String {
    match share.is_finite() {
        true => format!("{:.1}\u{202f}%", share * 100.0),
        false => "–".to_owned(),
    }
}

/// `4.2 s`, `3 min 05 s`, `1 h 12 min`.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".to_owned();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s"),
        (0, _) => format!("{minutes} min {rest:02} s"),
        _ => format!("{hours} h {minutes:02} min"),
    }
}

/// `2026-11-23 19:34 UTC` of an RFC 3339 time in UTC.
pub(super) fn moment(rfc3339: &str) -> String {
    match (rfc3339.get(..10), rfc3339.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => rfc3339.to_owned(),
    }
}

/// `1 round`, `3 rounds`.
pub(super) fn count(n: usize, noun: &str) -> String {
    match n {
        1 => format!("1 {noun}"),
        _ => format!("{n} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        let nasty = "<script>alert('x')</script> & \"y\"\u{0}\u{1b}[31m\n";
        let want = "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;y&quot;\u{fffd}\u{fffd}[31m\n";
        assert_eq!(escape(nasty), want);
    }

    #[test]
    fn numbers_keep_what_matters() {
        let shown = [5e-7, 1.25e-4, -0.7654, 0.0, 12.34, 123.4, 4096.0, f64::NAN].map(number);
        let want = "5e−7 1.25e−4 −0.765 0 12.34 123.4 4096 –";
        assert_eq!(shown.join(" "), want);
        assert_eq!(percent(0.713), "71.3\u{202f}%");
    }

    #[test]
    fn times_are_read_at_a_glance() {
        let shown = [4.24, 42.0, 185.2, 4321.0].map(duration);
        assert_eq!(shown, ["4.2 s", "42 s", "3 min 05 s", "1 h 12 min"]);
        assert_eq!(moment("2026-11-23T19:34:05Z"), "2026-11-23 19:34 UTC");
    }
}

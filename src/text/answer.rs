//! The final answer of a worked solution, and whether two answers are the same.
//!
//! Two answers are the same if they are written alike once what is mere spelling is taken out, as in the published code
//! of the MATH data set (`is_equiv` of Hendrycks et al. 2021), with the units that Minerva takes out (Lewkowycz et al.
//! 2022, appendix D); or if both are numbers of the same value. Nothing is computed beyond that: `x+1` is not `1+x`.

/// The final answer that a text gives: what its last `\boxed{}` holds; else what stands after its last `####`; else after
/// its last "answer is"; else its last number.
pub fn final_answer(text: &str) -> Option<String> {
    let found = boxed(text)
        .or_else(|| hashed(text))
        .or_else(|| said(text))
        .or_else(|| last_number(text));
    found.filter(|answer| !answer.is_empty())
}

/// The final answer of a reference: of a solution that marks one (`####`, `\boxed{}`) that one, else the text as it stands.
pub fn reference_answer(text: &str) -> String {
    let marked = boxed(text).or_else(|| hashed(text));
    marked.unwrap_or_else(|| text.trim().to_owned())
}

/// Whether two answers are the same.
pub fn equivalent(a: &str, b: &str) -> bool {
    let (a, b) = (spelt(a), spelt(b));
    if a == b {
        return !a.is_empty();
    }
    match (Ratio::read(&a), Ratio::read(&b)) {
        (Some(a), Some(b)) => a.equals(b),
        _ => false,
    }
}

/// What all answers have in common that are the same as this one, for counting many: of a number its value in lowest terms, else
/// its spelling. None of an answer that says nothing.
pub fn meaning(answer: &str) -> Option<String> {
    let spelling = spelt(answer);
    match Ratio::read(&spelling) {
        Some(number) => Some(number.in_lowest_terms()),
        None => (!spelling.is_empty()).then_some(spelling),
    }
}

/// Whether a solution's final answer is `answer`, a [`reference_answer`]. What it is said to equal counts (`3 + 4 = 7`), and words
/// behind a number are no part of it (`$18 per day`).
pub fn comes_to(solution: &str, answer: &str) -> bool {
    let Some(found) = final_answer(solution) else {
        return false;
    };
    let last = found.rsplit('=').next().unwrap_or_default();
    [found.as_str(), last].iter().any(|found| {
        equivalent(found, answer) || number_first(found).is_some_and(|n| equivalent(n, answer))
    })
}

/// The number that a text begins with, where words follow it.
fn number_first(text: &str) -> Option<&str> {
    let text = text.trim().trim_start_matches(['$', '\\']);
    let inside = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-');
    let end = text.find(|c| !inside(c))?;
    let (number, rest) = text.split_at(end);
    let word = rest
        .trim_start()
        .split(|c: char| !c.is_alphabetic())
        .next()?;
    (word.chars().count() > 1).then(|| number.trim_end_matches([',', '.']))
}

/// What the last `\boxed{...}` (or `\fbox{...}`) holds; `\boxed 5` ends with the formula.
fn boxed(text: &str) -> Option<String> {
    let at = ["\\boxed", "\\fbox"]
        .iter()
        .filter_map(|mark| Some(text.rfind(mark)? + mark.len()));
    let rest = text[at.max()?..].trim_start();
    let Some(inner) = rest.strip_prefix('{') else {
        return rest
            .split(['$', '\n'])
            .next()
            .map(|answer| answer.trim().to_owned());
    };
    let mut open = 1;
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(inner[..at].trim().to_owned());
        }
    }
    None
}

/// What stands on the line after the last `####`, as in GSM8K; a heading of Markdown without a number is none.
fn hashed(text: &str) -> Option<String> {
    let rest = &text[text.rfind("####")? + 4..];
    let line = rest.lines().next()?.trim();
    let says = line.contains(|c: char| c.is_ascii_digit());
    says.then(|| line.to_owned())
}

/// What is said after the last "answer is", up to the end of the sentence.
fn said(text: &str) -> Option<String> {
    const WORDS: &str = "answer is";
    // Lower case of ASCII alone keeps every byte in its place.
    let at = text.to_ascii_lowercase().rfind(WORDS)? + WORDS.len();
    let line = text[at..].trim_start_matches([':', ' ', '\n', '*']);
    let line = line.lines().next()?;
    let end = line.find(". ").unwrap_or(line.len());
    Some(
        line[..end]
            .trim_end_matches(['.', '*', ' ', '!'])
            .to_owned(),
    )
}

/// The last number of a text, without the commas between its thousands.
fn last_number(text: &str) -> Option<String> {
    let digit = |c: char| c.is_ascii_digit();
    let end = text.rfind(digit)? + 1;
    let inside = |c: &char| digit(*c) || matches!(c, ',' | '.');
    let length: usize = text[..end].chars().rev().take_while(inside).count();
    let number = text[end - length..end].trim_start_matches([',', '.']);
    let from = end - number.len();
    let before = text[..from]
        .strip_suffix('.')
        .map_or(&text[..from], |_| &text[..from - 1]);
    let point = if before.len() < from { "0." } else { "" };
    // A hyphen between two numbers or words is no sign.
    let signed = before
        .strip_suffix('-')
        .is_some_and(|rest| !rest.ends_with(|c: char| c.is_alphanumeric() || c == ')'));
    let sign = if signed { "-" } else { "" };
    Some(format!("{sign}{point}{}", number.replace(',', "")))
}

/// Units that Minerva takes out, where a number stands before them.
const UNITS: [&str; 36] = [
    "square",
    "ways",
    "integers",
    "dollars",
    "mph",
    "inches",
    "ft",
    "hours",
    "km",
    "units",
    "points",
    "feet",
    "minutes",
    "digits",
    "cents",
    "degrees",
    "cm",
    "gm",
    "pounds",
    "meters",
    "meals",
    "edges",
    "students",
    "multiples",
    "days",
    "years",
    "miles",
    "people",
    "apples",
    "eggs",
    "hour",
    "minute",
    "dollar",
    "inch",
    "percent",
    "seconds",
];

/// An answer without what is mere spelling.
fn spelt(answer: &str) -> String {
    let mut text = answer.trim().trim_end_matches('.').to_owned();
    for (mark, instead) in [
        ("\n", ""),
        ("\\!", ""),
        ("\\,", ""),
        ("\\;", ""),
        ("\\ ", " "),
        ("\\\\", "\\"),
        ("tfrac", "frac"),
        ("dfrac", "frac"),
        ("\\left", ""),
        ("\\right", ""),
        ("^{\\circ}", ""),
        ("^\\circ", ""),
        ("\\$", ""),
        ("$", ""),
        ("\\(", ""),
        ("\\)", ""),
        ("\\[", ""),
        ("\\]", ""),
        ("\\mbox", "\\text"),
        ("\\%", ""),
        ("%", ""),
        ("{,}", ","),
        (" .", " 0."),
        ("{.", "{0."),
        ("\u{2212}", "-"),
    ] {
        text = text.replace(mark, instead);
    }
    // `\text{ cm}` behind a number is its unit; other text is only set upright.
    if let Some(at) = text.find("\\text{ ").filter(|at| *at > 0) {
        text.truncate(at);
    }
    for command in ["\\text{", "\\textbf{", "\\mathrm{", "\\mathbf{"] {
        text = unwrapped(text, command);
    }
    text = without_unit(text.trim()).to_owned();
    if text.starts_with('.') {
        text.insert(0, '0');
    }
    // `x = 5` answers what x is.
    if let Some((name, value)) = text.split_once('=')
        && name.trim().len() <= 2
        && !value.contains('=')
    {
        text = value.to_owned();
    }
    text.retain(|c| !c.is_whitespace());
    text = braced(&text, "\\sqrt", 1);
    text = braced(&text, "\\frac", 2);
    text = without_thousands(&text);
    text = slashed(&text);
    text
}

/// Takes a command off what it wraps: `\text{east}` is `east`.
fn unwrapped(mut text: String, command: &str) -> String {
    while let Some(at) = text.find(command) {
        let inside = at + command.len();
        let Some(end) = text[inside..].find('}') else {
            return text;
        };
        text = format!(
            "{}{}{}",
            &text[..at],
            &text[inside..inside + end],
            &text[inside + end + 1..]
        );
    }
    text
}

/// `18 dollars` is 18; `5x` and `5 x` stay.
fn without_unit(text: &str) -> &str {
    let number = text.trim_end_matches(|c: char| c.is_alphabetic() || c == ' ');
    let words = &text[number.len()..];
    let known = |word: &str| UNITS.contains(&word.to_lowercase().as_str());
    match number.ends_with(|c: char| c.is_ascii_digit() || c == '}')
        && words.split_whitespace().all(known)
    {
        true => number,
        false => text,
    }
}

/// Puts braces around the arguments of a command that go without: `\frac12` is `\frac{1}{2}`, `\sqrt3` is `\sqrt{3}`.
fn braced(text: &str, command: &str, arguments: usize) -> String {
    let mut parts = text.split(command);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        whole += command;
        let mut rest = part;
        for _ in 0..arguments {
            let Some(first) = rest.chars().next() else {
                break;
            };
            if first == '{' {
                let end = group_end(rest);
                whole += &rest[..end];
                rest = &rest[end..];
            } else if first.is_alphanumeric() {
                whole.extend(['{', first, '}']);
                rest = &rest[first.len_utf8()..];
            } else {
                // `\sqrt[3]{8}` or `\frac\pi2`: left as it is.
                break;
            }
        }
        whole += rest;
    }
    whole
}

/// Where the group that a text begins with ends, its braces included.
fn group_end(text: &str) -> usize {
    let mut open = 0;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return at + letter.len_utf8();
        }
    }
    text.len()
}

/// `100,000` is one number; `1,2` and `(1,000)` are not.
fn without_thousands(text: &str) -> String {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let whole = unsigned.split('.').next().unwrap_or_default();
    let mut groups = whole.split(',');
    let digits = |group: &str| !group.is_empty() && group.chars().all(|c| c.is_ascii_digit());
    let first = groups
        .next()
        .is_some_and(|group| digits(group) && group.len() <= 3);
    match whole.contains(',') && first && groups.all(|group| digits(group) && group.len() == 3) {
        true => text.replace(',', ""),
        false => text.to_owned(),
    }
}

/// `1/2` is `\frac{1}{2}` where both are whole numbers.
fn slashed(text: &str) -> String {
    let whole = |part: &str| part.parse::<i64>().is_ok();
    match text.split_once('/') {
        Some((above, below)) if whole(above) && whole(below) => match above.strip_prefix('-') {
            Some(above) => format!("-\\frac{{{above}}}{{{below}}}"),
            None => format!("\\frac{{{above}}}{{{below}}}"),
        },
        _ => text.to_owned(),
    }
}

/// A number as a ratio of whole ones, exactly.
#[derive(Debug, Clone, Copy)]
struct Ratio {
    above: i128,
    below: i128,
}

impl Ratio {
    /// A whole or decimal number, a fraction of such, or a mixed one (`1\frac{1}{2}`).
    fn read(text: &str) -> Option<Self> {
        // One sign: a row of them is no number.
        let Some(positive) = text.strip_prefix('-') else {
            return Self::unsigned(text);
        };
        let Self { above, below } = Self::unsigned(positive)?;
        Some(Self {
            above: -above,
            below,
        })
    }

    fn unsigned(text: &str) -> Option<Self> {
        let Some((whole, fraction)) = text.split_once("\\frac{") else {
            return Self::decimal(text);
        };
        let (above, below) = fraction.strip_suffix('}')?.split_once("}{")?;
        let (above, below) = (Self::signed(above)?, Self::signed(below)?);
        let fraction = Self {
            above: above.above.checked_mul(below.below)?,
            below: above.below.checked_mul(below.above)?,
        };
        if fraction.below == 0 {
            return None;
        }
        match whole {
            "" => Some(fraction),
            whole => {
                let whole: u32 = whole.parse().ok()?;
                let more = fraction.below.checked_mul(i128::from(whole))?;
                Some(Self {
                    above: fraction.above.checked_add(more)?,
                    ..fraction
                })
            }
        }
    }

    fn signed(text: &str) -> Option<Self> {
        match text.strip_prefix('-') {
            Some(positive) => {
                let Self { above, below } = Self::decimal(positive)?;
                Some(Self {
                    above: -above,
                    below,
                })
            }
            None => Self::decimal(text),
        }
    }

    fn decimal(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = format!("{whole}{part}");
        let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
        if !plain || digits.len() > 30 {
            return None;
        }
        Some(Self {
            above: digits.parse().ok()?,
            below: 10i128.checked_pow(part.len() as u32)?,
        })
    }

    /// `=3/2`: no spelling begins with `=`.
    fn in_lowest_terms(self) -> String {
        let (mut a, mut b) = (self.above.unsigned_abs(), self.below.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let shared = a.max(1);
        let sign = match (self.above < 0) != (self.below < 0) && self.above != 0 {
            true => "-",
            false => "",
        };
        let [above, below] = [self.above, self.below].map(|number| number.unsigned_abs() / shared);
        format!("={sign}{above}/{below}")
    }

    fn equals(self, other: Self) -> bool {
        let left = self.above.checked_mul(other.below);
        left.is_some() && left == other.above.checked_mul(self.below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_the_same_exactly_where_they_are_equivalent() {
        let answers = [
            "1/2",
            "0.5",
            r"\frac{2}{4}",
            "-0.5",
            "-1/2",
            "2",
            "2.0",
            "x+1",
            "$x+1$",
            "1+x",
            "0",
            "-0",
            "3 dollars",
            "3",
            r"1\frac{1}{2}",
            "1.5",
            "$",
        ];
        for a in answers {
            for b in answers {
                let same = meaning(a).is_some() && meaning(a) == meaning(b);
                assert_eq!(same, equivalent(a, b), "{a} {b}");
            }
        }
    }

    #[test]
    fn the_final_answer_is_where_it_was_marked() {
        for (text, answer) in [
            (
                r"So $x = \boxed{\frac{1}{2}}$, or 0.5.",
                Some(r"\frac{1}{2}"),
            ),
            (r"First \boxed{3}, but then \boxed{4}", Some("4")),
            (r"It is \boxed 7$ units", Some("7")),
            (r"\fbox{2}", Some("2")),
            ("Two and two.\n#### 1,234\n", Some("1,234")),
            (r"\boxed{5} and #### 6", Some("5")),
            ("The answer is: 42. I hope it is correct.", Some("42")),
            ("The answer is 3.5 apples.", Some("3.5 apples")),
            ("the ANSWER IS **18**", Some("18")),
            ("She has 5 - 2 = 3 left of 1,000.50!", Some("1000.50")),
            ("It falls to -7 degrees", Some("-7")),
            ("From 5-7 it grows", Some("7")),
            ("It costs $.75.", Some("0.75")),
            ("Ends in 12.", Some("12")),
            ("nothing here", None),
            (r"\boxed{never closed", None),
            ("", None),
        ] {
            assert_eq!(final_answer(text).as_deref(), answer, "{text}");
        }
    }

    /// Pairs that `is_equiv` of the MATH data set, or Minerva's normalisation, calls the same.
    #[test]
    fn spelling_makes_no_other_answer() {
        for (a, b) in [
            (r"\frac12", r"\frac{1}{2}"),
            (r"\dfrac{3}{4}", r"\tfrac34"),
            ("0.5", r"\frac{1}{2}"),
            ("1/2", r"\frac{1}{2}"),
            ("-1/2", r"-\frac{1}{2}"),
            (r"\frac{-1}{2}", r"-\frac12"),
            (r"\sqrt3", r"\sqrt{3}"),
            (r"2\sqrt 3", r"2\sqrt{3}"),
            (r"\left(1, 2\right)", "(1,2)"),
            ("x = 5", "5"),
            (r"90^\circ", "90"),
            (r"90^{\circ}", "90"),
            (r"\$18", "18"),
            ("$18$", "18"),
            (r"50\%", "50"),
            (r"12\text{ cm}", "12"),
            (r"12\mbox{ inches}^2", "12"),
            (r"\text{east}", "east"),
            ("100,000", "100000"),
            (r"10{,}000", "10000"),
            ("18 dollars", "18"),
            ("5 square inches", "5"),
            (".75", "0.75"),
            ("3.50", "3.5"),
            ("7.", "7"),
            (r"1\frac{1}{2}", "1.5"),
            ("\u{2212}4", "-4"),
            ("18.0", "18"),
        ] {
            assert!(equivalent(a, b), "{a} and {b}");
            assert!(equivalent(b, a), "{b} and {a}");
        }
    }

    #[test]
    fn another_answer_is_another_answer() {
        for (a, b) in [
            ("5", "6"),
            ("5x", "5"),
            ("5 x", "5"),
            ("1,2", "12"),
            ("(1,000)", "(1000)"),
            ("0.333", r"\frac13"),
            ("-3", "3"),
            (r"\frac{1}{0}", r"\frac{2}{0}"),
            ("x+1", "1+x"),
            ("east", "west"),
            ("", ""),
            (r"\sqrt[3]{8}", r"\sqrt{8}"),
            ("9999999999999999999999999999999", "1"),
        ] {
            assert!(!equivalent(a, b), "{a} and {b}");
        }
    }
}

//! What a reply says: the last letter or the last number that stands alone, as models reason before they decide.

/// What the first of two gets: 1 for a verdict A, 0 for B, 0.5 for C. A verdict in double brackets comes before any other;
/// `A` in front of a small letter is an article.
pub fn verdict(reply: &str) -> Option<f32> {
    let of = |letter: &str| match letter {
        "A" => Some(1.0),
        "B" => Some(0.0),
        "C" => Some(0.5),
        _ => None,
    };
    let bracketed = bracketed(reply).filter_map(of);
    let words = reply.match_indices(['A', 'B', 'C']);
    let mut words = words.filter_map(|(at, letter)| {
        let (before, after) = (&reply[..at], &reply[at + 1..]);
        let inside =
            before.ends_with(char::is_alphanumeric) || after.starts_with(char::is_alphanumeric);
        let article = letter == "A"
            && after
                .trim_start_matches(' ')
                .starts_with(char::is_lowercase);
        if inside || article { None } else { of(letter) }
    });
    bracketed.last().or_else(|| words.next_back())
}

/// The last number; a limit behind it (`7/10`, `7 out of 10`, `7 (1-10)`, `7 on a scale of 1 to 10`) is none. A number in
/// double brackets comes before any other.
pub fn grade(reply: &str) -> Option<f32> {
    let number = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|number: &f32| number.is_finite())
    };
    bracketed(reply)
        .filter_map(number)
        .last()
        .or_else(|| last_number(reply))
}

/// What stands in `[[double brackets]]`.
fn bracketed(reply: &str) -> impl Iterator<Item = &str> {
    reply
        .split("[[")
        .skip(1)
        .filter_map(|rest| rest.split("]]").next())
}

fn last_number(reply: &str) -> Option<f32> {
    let (mut grade, mut at) = (None, 0);
    while let Some(found) = reply[at..].find(|c: char| c.is_ascii_digit()) {
        let (before, digits) = reply.split_at(at + found);
        let end = digits
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(digits.len());
        at += found + end;
        let in_word = before.ends_with(char::is_alphanumeric);
        if in_word || begins_range(&digits[end..]) || (grade.is_some() && ends_range(before)) {
            continue;
        }
        let value: Option<f32> = digits[..end].trim_end_matches('.').parse().ok();
        let sign = if before.ends_with('-') { -1.0 } else { 1.0 };
        let value = value.filter(|value| value.is_finite());
        grade = value.map(|value| sign * value).or(grade);
    }
    grade
}

/// Whether a number is the lower end of what a grade may be: `1-10`, `1 to 10`.
fn begins_range(after: &str) -> bool {
    let ends = |mark: &str| {
        let upper = after.strip_prefix(mark);
        upper.is_some_and(|upper| upper.starts_with(|c: char| c.is_ascii_digit()))
    };
    ["-", "\u{2013}", " to "].into_iter().any(ends)
}

/// Whether a number is the upper end of it, or what a grade is out of.
fn ends_range(before: &str) -> bool {
    let lead = before.trim_end();
    let dashed = before.strip_suffix(['-', '\u{2013}']);
    let dashed = dashed.is_some_and(|lower| lower.ends_with(|c: char| c.is_ascii_digit()));
    dashed
        || ["/", "out of", " to"]
            .iter()
            .any(|mark| lead.ends_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_the_last_letter_that_stands_alone() {
        let cases = [
            ("A", Some(1.0)),
            ("[[B]]", Some(0.0)),
            ("Answer A is vague. **B**", Some(0.0)),
            ("C.", Some(0.5)),
            (
                "B is better. A more direct answer would have helped.",
                Some(0.0),
            ),
            ("[[A]] although B is shorter, and C is no choice", Some(1.0)),
            ("Both are fine", None),
            ("Apples and Bananas", None),
            ("", None),
        ];
        for (reply, wanted) in cases {
            assert_eq!(verdict(reply), wanted, "{reply}");
        }
    }

    #[test]
    fn a_grade_is_the_last_number() {
        let cases = [
            ("7", Some(7.0)),
            ("Rating: [[8.5]]", Some(8.5)),
            ("It has 3 mistakes. Grade: 6/10", Some(6.0)),
            ("6 / 10", Some(6.0)),
            ("I give it 4 out of 10.", Some(4.0)),
            ("10.", Some(10.0)),
            ("-2", Some(-2.0)),
            ("8 (on a scale of 1 to 10)", Some(8.0)),
            ("Score 7 (1-10)", Some(7.0)),
            ("[[6]], not 10", Some(6.0)),
            (
                "3, not 9999999999999999999999999999999999999999999",
                Some(3.0),
            ),
            ("GPT4 says nothing", None),
            ("no grade", None),
        ];
        for (reply, wanted) in cases {
            assert_eq!(grade(reply), wanted, "{reply}");
        }
    }
}

//! Numbers on the command line: what each may be, said in one sentence.

/// A whole number from 1.
pub fn from_1(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a whole number above 0 is needed".into()),
        Ok(count) => Ok(count),
    }
}

/// A whole number from 0.
pub fn from_0(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| "a whole number from 0 is needed".into())
}

/// A seed.
pub fn seed(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "a whole number from 0 is needed".into())
}

/// A finite number that is not negative.
pub fn not_negative(text: &str) -> Result<f64, String> {
    within(text, |n| n >= 0.0, "a number from 0 is needed")
}

/// The same, for what is taken from rewards.
pub fn penalty(text: &str) -> Result<f32, String> {
    not_negative(text).map(|number| number as f32)
}

/// A finite number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    within(text, |n| n > 0.0, "a number above 0 is needed")
}

/// A share of something, from 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    within(
        text,
        |n| (0.0..=1.0).contains(&n),
        "a number from 0 to 1 is needed",
    )
}

/// A share that is not nothing.
pub fn share_above_0(text: &str) -> Result<f64, String> {
    within(
        text,
        |n| n > 0.0 && n <= 1.0,
        "a number above 0, at most 1, is needed",
    )
}

fn within(text: &str, holds: impl Fn(f64) -> bool, needed: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && holds(number) => Ok(number),
        _ => Err(needed.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_or_out_of_range_is_refused_with_the_range() {
        assert_eq!(from_1("0"), Err("a whole number above 0 is needed".into()));
        assert_eq!(from_0("-1"), Err("a whole number from 0 is needed".into()));
        assert_eq!(positive("-0.1"), Err("a number above 0 is needed".into()));
        assert_eq!(not_negative("NaN"), Err("a number from 0 is needed".into()));
        assert_eq!(share("1.5"), Err("a number from 0 to 1 is needed".into()));
        assert_eq!(
            share_above_0("0"),
            Err("a number above 0, at most 1, is needed".into())
        );
        assert_eq!(
            (positive("2e-5"), share("1"), from_1("3")),
            (Ok(2e-5), Ok(1.0), Ok(3))
        );
    }
}

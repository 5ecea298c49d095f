//! Values as Python prints them, because chat templates were written for Python's Jinja.
//!
//! `json.dumps` and `str` differ from JSON and Jinja elsewhere in small ways (spaces after separators, `True`,
//! `1e-05`), and each of them would change the tokens of a prompt.

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

/// The `tojson` filter of Hugging Face: Python's `json.dumps`, without the HTML escapes of Jinja's own.
pub(super) fn tojson(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let layout = Layout::from_options(&options)?;
    let mut out = String::new();
    layout.value(&mut out, value, 0)?;
    Ok(Value::from(out))
}

/// What `{{ value }}` prints.
pub(super) fn display(value: &Value) -> String {
    match value.kind() {
        ValueKind::None => "None".to_string(),
        ValueKind::Bool => if value.is_true() { "True" } else { "False" }.to_string(),
        ValueKind::Number => number(value),
        ValueKind::Seq if value.is_tuple() => sequence(value, "(", ")"),
        ValueKind::Seq => sequence(value, "[", "]"),
        ValueKind::Map => mapping(value),
        _ => value.to_string(),
    }
}

/// How `json.dumps` is asked to print.
struct Layout {
    ensure_ascii: bool,
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

impl Layout {
    fn from_options(options: &Kwargs) -> Result<Self, Error> {
        let indent = match options.get::<Option<Value>>("indent")? {
            Some(value) if value.is_none() => None,
            Some(value) => Some(match value.as_usize() {
                Some(width) => " ".repeat(width),
                None => value.to_string(),
            }),
            None => None,
        };
        let separators: Option<Vec<String>> = options.get("separators")?;
        let (item, key) = match separators.as_deref() {
            Some([item, key]) => (item.clone(), key.clone()),
            // Python drops the space after the comma where a line break follows it.
            _ if indent.is_some() => (",".to_string(), ": ".to_string()),
            _ => (", ".to_string(), ": ".to_string()),
        };
        let layout = Self {
            ensure_ascii: options
                .get::<Option<bool>>("ensure_ascii")?
                .unwrap_or(false),
            indent,
            item_separator: item,
            key_separator: key,
            sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        };
        options.assert_all_used()?;
        Ok(layout)
    }

    fn value(&self, out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&match number(value).as_str() {
                "nan" => "NaN".to_string(),
                "inf" => "Infinity".to_string(),
                "-inf" => "-Infinity".to_string(),
                finite => finite.to_string(),
            }),
            ValueKind::String => self.text(out, value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.checked().collect::<Result<Vec<_>, _>>()?;
                self.all(out, ("[", "]"), items.len(), depth, |out, i| {
                    self.value(out, &items[i], depth + 1)
                })?;
            }
            ValueKind::Map => {
                let entries = self.entries(value)?;
                self.all(out, ("{", "}"), entries.len(), depth, |out, i| {
                    let (key, value) = &entries[i];
                    self.text(out, key);
                    out.push_str(&self.key_separator);
                    self.value(out, value, depth + 1)
                })?;
            }
            kind => {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("`tojson` cannot print a value that is {kind}"),
                ));
            }
        }
        Ok(())
    }

    fn entries(&self, map: &Value) -> Result<Vec<(String, Value)>, Error> {
        let mut entries = Vec::new();
        for key in map.try_iter()?.checked() {
            let key = key?;
            let name = match key.kind() {
                ValueKind::None => "null".to_string(),
                ValueKind::Bool => key.is_true().to_string(),
                _ => key.as_str().map_or_else(|| display(&key), str::to_string),
            };
            entries.push((name, map.get_item(&key)?));
        }
        if self.sort_keys {
            entries.sort_by(|a, b| a.0.cmp(&b.0));
        }
        Ok(entries)
    }

    /// The brackets, separators and line breaks around `count` items.
    fn all(
        &self,
        out: &mut String,
        (open, close): (&str, &str),
        count: usize,
        depth: usize,
        mut item: impl FnMut(&mut String, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        out.push_str(open);
        for i in 0..count {
            if i > 0 {
                out.push_str(&self.item_separator);
            }
            self.new_line(out, depth + 1);
            item(out, i)?;
        }
        if count > 0 {
            self.new_line(out, depth);
        }
        out.push_str(close);
        Ok(())
    }

    fn new_line(&self, out: &mut String, depth: usize) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    }

    fn text(&self, out: &mut String, text: &str) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || (self.ensure_ascii && !c.is_ascii()) => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

/// An integer in full, or a float with the fewest digits that read back, in Python's notation.
fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    let Ok(float) = f64::try_from(value.clone()) else {
        return value.to_string();
    };
    if float.is_nan() {
        return "nan".to_string();
    }
    let digits = format!("{float:?}");
    // Rust and Python switch to exponents at the same sizes, but Python writes a sign and two digits.
    match digits.split_once('e') {
        None => digits,
        Some((mantissa, exponent)) => {
            let (sign, size) = match exponent.strip_prefix('-') {
                Some(size) => ('-', size),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{size:0>2}")
        }
    }
}

/// A value inside a printed list or dictionary: like [`display`], with quotes round text.
fn repr(value: &Value) -> String {
    match value.as_str() {
        Some(text) => quoted(text),
        None => display(value),
    }
}

fn sequence(value: &Value, open: &str, close: &str) -> String {
    let items: Vec<String> = value
        .try_iter()
        .into_iter()
        .flatten()
        .map(|v| repr(&v))
        .collect();
    let lone_tuple = open == "(" && items.len() == 1;
    format!(
        "{open}{}{}{close}",
        items.join(", "),
        if lone_tuple { "," } else { "" }
    )
}

fn mapping(value: &Value) -> String {
    let keys = value.try_iter().into_iter().flatten();
    let entries: Vec<String> = keys
        .map(|key| {
            let item = value.get_item(&key).unwrap_or_default();
            format!("{}: {}", repr(&key), repr(&item))
        })
        .collect();
    format!("{{{}}}", entries.join(", "))
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if c < ' ' || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

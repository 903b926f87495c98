//! The fields of a JSON object, taken one by one with the type each must have; what is left over is unknown.
//!
//! Depth is bounded by the parser, a field named twice is refused rather than decided by order, and a sentence names
//! the field, never the input.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::control::refusal::{INVALID_REQUEST, Refusal};

/// Of JSON that is handed on as it is. Readers of protobuf, where each level takes three, give up at 100.
const DEPTH_MAX: usize = 16;

#[derive(Default)]
pub struct Fields {
    /// `recordingOptions.` inside that object, empty at the top.
    prefix: String,
    map: Map<String, Value>,
}

/// The names alone: what is asked may hold keys.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_set().entries(self.map.keys()).finish()
    }
}

impl Fields {
    pub fn new(map: Map<String, Value>) -> Fields {
        Fields {
            prefix: String::new(),
            map,
        }
    }

    /// An empty body is an object without fields.
    pub fn parse(body: &[u8]) -> Result<Fields, Refusal> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Fields::default());
        }
        let invalid = |message: &str| Refusal::new(INVALID_REQUEST, message);
        match serde_json::from_slice::<Unambiguous>(body) {
            Ok(Unambiguous(Value::Object(map))) => Ok(Fields::new(map)),
            Ok(_) => Err(invalid("The body must be a JSON object.")),
            Err(error) if error.is_data() => {
                Err(invalid("The body has a JSON object with the same field twice."))
            }
            Err(error) => Err(invalid(&format!(
                "The body is not valid JSON (line {}, column {}).",
                error.line(),
                error.column()
            ))),
        }
    }

    /// All of them as one text, which is the same for the same fields in another order.
    pub fn as_json(&self) -> String {
        serde_json::to_string(&self.map).unwrap_or_default()
    }

    /// The name of a field with that of the object it stands in.
    pub fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        self.take(name, "true or false", |value| value.as_bool())
    }

    /// At most `chars_max` characters; `usize::MAX` where whoever takes it has a bound of its own.
    pub fn text(&mut self, name: &str, chars_max: usize) -> Result<Option<String>, Refusal> {
        let allowed = match chars_max {
            usize::MAX => "a string".to_owned(),
            _ => format!("a string of at most {chars_max} characters"),
        };
        self.take(name, &allowed, |value| match value {
            Value::String(text) if text.chars().count() <= chars_max => Some(text),
            _ => None,
        })
    }

    pub fn texts(&mut self, name: &str, count_max: usize) -> Result<Option<Vec<String>>, Refusal> {
        let allowed = format!("a list of at most {count_max} strings");
        self.take(name, &allowed, |value| match value {
            Value::Array(items) if items.len() <= count_max => items
                .into_iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect(),
            _ => None,
        })
    }

    pub fn whole(&mut self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Refusal> {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        self.take(name, &allowed, |value| {
            value.as_u64().filter(|number| range.contains(number))
        })
    }

    pub fn decimal(&mut self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, Refusal> {
        let allowed = format!("a number from {} to {}", range.start(), range.end());
        self.take(name, &allowed, |value| {
            value.as_f64().filter(|number| range.contains(number))
        })
    }

    /// One of a few words; `parse` knows them, `allowed` lists them.
    pub fn word<T>(
        &mut self,
        name: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        match self.map.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_str().and_then(parse) {
                Some(known) => Ok(Some(known)),
                None => Err(self.wrong(name, allowed)),
            },
        }
    }

    pub fn object(&mut self, name: &str) -> Result<Option<Fields>, Refusal> {
        let prefix = format!("{}{name}.", self.prefix);
        self.take(name, "an object", |value| match value {
            Value::Object(map) => Some(Fields { prefix, map }),
            _ => None,
        })
    }

    /// Anything, as long as its JSON takes at most `bytes_max` and no list or object is in more than `DEPTH_MAX`.
    pub fn any(&mut self, name: &str, bytes_max: usize) -> Result<Option<Value>, Refusal> {
        let allowed = format!("JSON of at most {bytes_max} bytes, nested at most {DEPTH_MAX} deep");
        self.take(name, &allowed, |value| {
            (is_shallow(&value, DEPTH_MAX) && value.to_string().len() <= bytes_max).then_some(value)
        })
    }

    /// `Some(None)` where the field is null: the difference between "clear it" and "leave it".
    pub fn clearable<T>(
        &mut self,
        name: &str,
        take: impl FnOnce(&mut Fields) -> Result<Option<T>, Refusal>,
    ) -> Result<Option<Option<T>>, Refusal> {
        match self.map.get(name) {
            None => Ok(None),
            Some(_) => take(self).map(Some),
        }
    }

    /// Refuses fields that nobody took.
    pub fn finish(self) -> Result<(), Refusal> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(name) => Err(Refusal::bad(format!(
                "`{}{}` is not a field of this request.",
                self.prefix,
                shown(name)
            ))),
        }
    }

    fn take<T>(
        &mut self,
        name: &str,
        allowed: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        match self.map.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(name, allowed)),
        }
    }

    /// Why the value of a field cannot be taken, where its type alone does not say so.
    pub fn wrong(&self, name: &str, allowed: &str) -> Refusal {
        Refusal::bad(format!("`{}{name}` must be {allowed}.", self.prefix))
    }
}

/// Whether lists and objects are nested at most so deep.
fn is_shallow(value: &Value, depth_max: usize) -> bool {
    match value {
        Value::Array(items) => depth_max > 0 && items.iter().all(|item| is_shallow(item, depth_max - 1)),
        Value::Object(map) => depth_max > 0 && map.values().all(|item| is_shallow(item, depth_max - 1)),
        _ => true,
    }
}

/// A field's name short and tame enough to be named in a sentence.
fn shown(name: &str) -> String {
    const CHARS_MAX: usize = 32;
    let tame = |char: char| {
        if char.is_ascii_alphanumeric() || "-_.:/+".contains(char) {
            char
        } else {
            '?'
        }
    };
    let mut text: String = name.chars().take(CHARS_MAX).map(tame).collect();
    if name.chars().nth(CHARS_MAX).is_some() {
        text.push('…');
    }
    text
}

/// Any JSON in which no object names a field twice.
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unambiguous, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Unambiguous;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Unambiguous, E> {
        Ok(Unambiguous(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Unambiguous, E> {
        Ok(Unambiguous(Value::Bool(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(Value::Number(value.into())))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(Value::Number(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Unambiguous, E> {
        Ok(Unambiguous(
            Number::from_f64(value).map_or(Value::Null, Value::Number),
        ))
    }

    fn visit_str<E>(self, value: &str) -> Result<Unambiguous, E> {
        Ok(Unambiguous(Value::String(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unambiguous, A::Error> {
        let mut list = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Unambiguous(Value::Array(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unambiguous, A::Error> {
        let mut map = Map::new();
        while let Some((name, Unambiguous(value))) = entries.next_entry::<String, _>()? {
            if map.insert(name, value).is_some() {
                return Err(de::Error::custom("a field twice"));
            }
        }
        Ok(Unambiguous(Value::Object(map)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_no_unambiguous_json_object_is_an_invalid_request_that_is_not_repeated() {
        let deep = "[".repeat(10_000);
        let deep_object = "{\"secret\":".repeat(10_000);
        for bad in [
            "{",
            "[]",
            "1",
            "\"secret\"",
            "{\"secret\":}",
            "{\"a\":1,\"a\":2}",
            "{\"x\":{\"a\":1,\"a\":2}}",
            "\u{feff}{}",
            "{\"secret\":1e999}",
            "{} {}",
            &deep,
            &deep_object,
        ] {
            let refusal = Fields::parse(bad.as_bytes()).unwrap_err();
            assert_eq!(refusal.code, INVALID_REQUEST, "{bad:.20}");
            assert!(!refusal.message.contains("secret"), "{refusal}");
        }
        assert_eq!(
            Fields::parse(b"{\"a\":\"\xff\"}").unwrap_err().code,
            INVALID_REQUEST
        );
        assert!(Fields::parse(b"").unwrap().finish().is_ok());
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named_with_what_it_must_be() {
        let mut wrong = fields(r#"{"muted":"yes","gain":99,"n":1.5,"t":"long text","o":[],"l":[1]}"#);
        assert_eq!(
            wrong.flag("muted").unwrap_err().message,
            "`muted` must be true or false."
        );
        assert_eq!(
            wrong.decimal("gain", -60.0..=24.0).unwrap_err().message,
            "`gain` must be a number from -60 to 24."
        );
        assert!(wrong.whole("n", 1..=2).is_err());
        assert!(wrong.text("t", 3).is_err());
        assert!(wrong.object("o").is_err());
        assert!(wrong.texts("l", 3).is_err());
        assert_eq!(wrong.flag("absent"), Ok(None));
    }

    #[test]
    fn what_is_handed_on_is_neither_long_nor_deep() {
        let nested = |depth: usize| format!(r#"{{"custom":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(fields(&nested(16)).any("custom", 99).unwrap().is_some());
        assert!(fields(&nested(16)).any("custom", 32).is_err());
        let refused = fields(&nested(17)).any("custom", 99).unwrap_err();
        assert_eq!(
            refused.message,
            "`custom` must be JSON of at most 99 bytes, nested at most 16 deep."
        );
        let object = format!(r#"{{"custom":{}1{}}}"#, r#"{"a":"#.repeat(17), "}".repeat(17));
        assert!(fields(&object).any("custom", 999).is_err());
    }

    #[test]
    fn what_nobody_took_is_named() {
        let mut with_object = fields(r#"{"a":true,"options":{"b":1}}"#);
        assert_eq!(with_object.flag("a"), Ok(Some(true)));
        let options = with_object.object("options").unwrap().unwrap();
        assert!(with_object.finish().is_ok());
        assert_eq!(
            options.finish().unwrap_err().message,
            "`options.b` is not a field of this request."
        );
        let nasty = fields(&format!("{{\"<b>{}\":1}}", "x".repeat(99)))
            .finish()
            .unwrap_err();
        assert!(
            nasty.message.starts_with("`?b?xxx") && nasty.message.len() < 80,
            "{nasty}"
        );
    }

    #[test]
    fn null_clears_and_absence_leaves() {
        let mut clears = fields(r#"{"moh":null,"set":"ring"}"#);
        let take = |name| move |fields: &mut Fields| fields.text(name, 9);
        assert_eq!(clears.clearable("moh", take("moh")), Ok(Some(None)));
        assert_eq!(
            clears.clearable("set", take("set")),
            Ok(Some(Some("ring".into())))
        );
        assert_eq!(clears.clearable("none", take("none")), Ok(None));
    }
}

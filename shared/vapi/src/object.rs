//! Reads the fields of a JSON object. A field of a wrong type is treated as absent.
//!
//! Values are parsed only when a caller reads them. The rest of a body, mostly assistant configuration and message
//! history, is scanned and not parsed. A number out of range or a duplicate name in an unread field therefore causes
//! no error.

use std::cell::RefCell;
use std::collections::HashMap;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::ids::is_token;
use crate::json::{self, Limits};
use crate::known_fields;
use crate::sanitise::sanitise;
use crate::sensitive::Sensitive;
use crate::{phone, time};

/// The state for reading one body.
pub(crate) struct Context {
    received_at: Timestamp,
    unreadable: RefCell<Vec<&'static str>>,
    unknown_fields: RefCell<Vec<String>>,
}

/// The most unknown field names of one message, and the length of a name. Longer names are not Vapi's.
const MAX_UNKNOWN_FIELDS: usize = 16;
const MAX_FIELD_NAME: usize = 64;

impl Context {
    pub(crate) fn new(received_at: Timestamp) -> Self {
        Self { received_at, unreadable: RefCell::default(), unknown_fields: RefCell::default() }
    }

    /// The unreadable fields, which are treated as absent. Each is listed once.
    pub(crate) fn into_unreadable(self) -> Vec<&'static str> {
        self.unreadable.into_inner()
    }

    /// The names of fields that this version does not know.
    pub(crate) fn take_unknown_fields(&self) -> Vec<String> {
        self.unknown_fields.take()
    }

    /// Compares the names of an object's fields with the known ones, if `path` is an object of Vapi's whose names are
    /// listed. The object is parsed anyway, so this costs a few comparisons.
    fn compare(&self, path: &str, fields: &HashMap<String, &RawValue>) {
        let Some(known) = known_fields::of(path) else { return };
        for name in fields.keys() {
            if known.binary_search(&name.as_str()).is_ok() || name.len() > MAX_FIELD_NAME || !is_token(name) {
                continue;
            }
            let mut unknown = self.unknown_fields.borrow_mut();
            let field = format!("{path}.{name}");
            if unknown.len() < MAX_UNKNOWN_FIELDS && !unknown.contains(&field) {
                unknown.push(field);
            }
        }
    }

    fn report(&self, path: &'static str) {
        let mut unreadable = self.unreadable.borrow_mut();
        if !unreadable.contains(&path) {
            unreadable.push(path);
        }
    }
}

/// A JSON object whose values are read on demand.
///
/// A field has a dotted path from the message, such as `call.customer.number`. The last segment is the name to look
/// up; the report of an unreadable field has the whole path. `null`, an empty text, an empty object and an empty list
/// are treated as absent.
pub(crate) struct Object<'a> {
    fields: HashMap<String, &'a RawValue>,
    context: &'a Context,
}

/// An item of a list whose items have several types.
pub(crate) enum Item<'a> {
    Text(String),
    Object(Object<'a>),
}

impl<'a> Object<'a> {
    /// The body's outermost object. Empty if the body is JSON of another type.
    pub(crate) fn of_body(body: &'a RawValue, context: &'a Context) -> Self {
        Self { fields: as_fields(body).unwrap_or_default(), context }
    }

    /// An object. Empty if absent, so that calls can be chained.
    pub(crate) fn object(&self, path: &'static str) -> Self {
        let fields = self.read(path, as_fields).unwrap_or_default();
        self.context.compare(path, &fields);
        Self { fields, context: self.context }
    }

    /// An object that some senders write as a text. Empty if absent or a text.
    pub(crate) fn object_or_text(&self, path: &'static str) -> Self {
        if self.is_text(path) {
            return Self { fields: HashMap::new(), context: self.context };
        }
        self.object(path)
    }

    /// The objects of a list. `None` if there is no list. Items that are not objects are skipped.
    pub(crate) fn objects(&self, path: &'static str) -> Option<Vec<Self>> {
        let items = self.read(path, as_items)?;
        let objects = items.into_iter().filter_map(|item| {
            let fields = as_fields(item);
            if fields.is_none() {
                self.context.report(path);
            }
            Some(Self { fields: fields?, context: self.context })
        });
        Some(objects.collect())
    }

    /// A text of any length.
    pub(crate) fn text(&self, path: &'static str) -> Option<String> {
        self.read(path, as_text).filter(|text| !text.is_empty())
    }

    /// A text of up to 256 characters.
    pub(crate) fn short_text(&self, path: &'static str) -> Option<String> {
        self.text_where(path, |text| text.chars().count() <= 256)
    }

    /// A text that may be personal.
    pub(crate) fn sensitive_text(&self, path: &'static str) -> Option<Sensitive<String>> {
        self.text(path).map(Sensitive::from)
    }

    /// An id or name that Vapi assigns: a text of up to 128 characters.
    pub(crate) fn id(&self, path: &'static str) -> Option<String> {
        self.text_where(path, |text| text.chars().count() <= 128)
    }

    /// A value of an open enum of Vapi: a text of up to 64 characters that is safe in a key or a metric.
    pub(crate) fn token(&self, path: &'static str) -> Option<String> {
        self.text_where(path, |text| text.len() <= 64 && is_token(text))
    }

    /// A text, cut to a number of characters.
    pub(crate) fn cut_text(&self, path: &'static str, max: usize) -> Option<String> {
        self.text(path).map(|text| cut(text, max))
    }

    /// A phone number, in E.164 if possible, or a SIP URI. Placeholders for a withheld number and fragments of a number
    /// are treated as absent.
    pub(crate) fn phone(&self, path: &'static str) -> Option<Sensitive<String>> {
        self.short_text(path).and_then(|text| phone::normalise(&text)).map(Sensitive::from)
    }

    /// A text, parsed as a type with `FromStr`.
    pub(crate) fn parsed<T: FromStr>(&self, path: &'static str) -> Option<T> {
        self.converted(path, |text| text.parse().ok())
    }

    /// A text, converted by a function. The field is unreadable if the conversion fails.
    pub(crate) fn converted<T>(&self, path: &'static str, convert: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(path)?;
        let converted = convert(&text);
        if converted.is_none() {
            self.context.report(path);
        }
        converted
    }

    /// A text, or the JSON text of a boolean or a number.
    pub(crate) fn scalar_text(&self, path: &'static str) -> Option<String> {
        self.read(path, as_scalar_text).filter(|text| !text.is_empty())
    }

    /// A number from 0 to `max`, which may be written as text.
    pub(crate) fn amount(&self, path: &'static str, max: f64) -> Option<f64> {
        self.read(path, |raw| json::number(raw.get()).filter(|number| (0.0..=max).contains(number)))
    }

    /// A boolean.
    pub(crate) fn boolean(&self, path: &'static str) -> Option<bool> {
        self.read(path, as_boolean)
    }

    /// Whether a customer's own field, which may have any type, is `true`.
    pub(crate) fn is_true(&self, key: &str) -> bool {
        self.fields.get(key).is_some_and(|raw| as_boolean(raw) == Some(true))
    }

    /// A time in any of Vapi's formats, if it is plausible.
    pub(crate) fn time(&self, path: &'static str) -> Option<Timestamp> {
        let received_at = self.context.received_at;
        self.read(path, |raw| match as_text(raw) {
            Some(text) => time::from_text(&text, received_at).or_else(|| time::from_number(raw.get(), received_at)),
            None => time::from_number(raw.get(), received_at),
        })
    }

    /// A JSON object or list. It is stored unchanged, without the numbers that have too many digits.
    pub(crate) fn json(&self, path: &'static str, limits: Limits) -> Option<Value> {
        let collection = self.read(path, |raw| json::collection(raw.get(), limits))?;
        if !collection.is_complete {
            self.context.report(path);
        }
        Some(collection.value).filter(|value| !json::is_empty(value))
    }

    /// A JSON object or list, stored unchanged, which may be written as JSON in a text.
    pub(crate) fn written_json(&self, path: &'static str, limits: Limits) -> Option<Value> {
        if !self.is_text(path) {
            return self.json(path, limits);
        }
        // The text has its own escapes, which the sanitiser did not see in the body.
        let value = self.converted(path, |text| json::collection(sanitise(text.as_bytes()).trim(), limits))?.value;
        Some(value).filter(|value| !json::is_empty(value))
    }

    /// Whether the field is a text.
    pub(crate) fn is_text(&self, path: &'static str) -> bool {
        self.raw(path).is_some_and(|raw| raw.get().starts_with('"'))
    }

    /// Whether the field is a list.
    pub(crate) fn is_list(&self, path: &'static str) -> bool {
        self.raw(path).is_some_and(|raw| raw.get().starts_with('['))
    }

    /// The texts and objects of a list. Other items are skipped. Empty if there is no list.
    pub(crate) fn mixed(&self, path: &'static str) -> Vec<Item<'a>> {
        let items = self.read(path, as_items).unwrap_or_default();
        let item = |raw: &'a RawValue| {
            let text = as_text(raw).map(Item::Text);
            text.or_else(|| as_fields(raw).map(|fields| Item::Object(Object { fields, context: self.context })))
        };
        items.into_iter().filter_map(item).collect()
    }

    /// A JSON object, as [`Self::json`].
    pub(crate) fn map(&self, path: &'static str, limits: Limits) -> Option<Map<String, Value>> {
        let Value::Object(map) = self.json(path, limits)? else {
            self.context.report(path);
            return None;
        };
        Some(map)
    }

    /// The field's JSON text, for a field without a fixed type.
    pub(crate) fn raw(&self, path: &'static str) -> Option<&'a RawValue> {
        let raw = *self.fields.get(key(path))?;
        (!matches!(raw.get(), "null" | "\"\"")).then_some(raw)
    }

    /// Each field's name and JSON text, in no particular order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.fields.iter().map(|(name, raw)| (name.as_str(), *raw))
    }

    /// The names and values of all fields that are texts, booleans or numbers, as text of up to `max` characters.
    pub(crate) fn scalar_fields(&self, max: usize) -> impl Iterator<Item = (String, String)> {
        self.fields().filter_map(move |(name, raw)| {
            let text = as_scalar_text(raw).filter(|text| !text.is_empty())?;
            Some((name.to_owned(), cut(text, max)))
        })
    }

    fn text_where(&self, path: &'static str, usable: impl Fn(&str) -> bool) -> Option<String> {
        self.converted(path, |text| usable(text).then(|| text.to_owned()))
    }

    fn read<T>(&self, path: &'static str, convert: impl Fn(&'a RawValue) -> Option<T>) -> Option<T> {
        let raw = self.raw(path)?;
        let value = convert(raw);
        if value.is_none() {
            self.context.report(path);
        }
        value
    }
}

/// A text, cut to a number of characters.
pub(crate) fn cut(mut text: String, max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(max) {
        text.truncate(end);
    }
    text
}

/// Vapi's names have no dots.
fn key(path: &'static str) -> &'static str {
    path.rsplit('.').next().unwrap_or(path)
}

fn as_fields(raw: &RawValue) -> Option<HashMap<String, &RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

fn as_items(raw: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(raw.get()).ok()
}

fn as_text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn as_boolean(raw: &RawValue) -> Option<bool> {
    serde_json::from_str(raw.get()).ok()
}

fn as_scalar_text(raw: &RawValue) -> Option<String> {
    as_text(raw)
        .or_else(|| as_boolean(raw).map(|yes| yes.to_string()))
        .or_else(|| json::numeral(raw.get()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a value from a body and returns the unreadable fields.
    fn read<T>(body: &str, read: impl Fn(&Object<'_>) -> T) -> (T, Vec<&'static str>) {
        let context = Context::new(Timestamp::UNIX_EPOCH);
        let body: &RawValue = serde_json::from_str(body).unwrap();
        let value = read(&Object::of_body(body, &context));
        (value, context.into_unreadable())
    }

    #[test]
    fn absent_null_and_empty_are_the_same() {
        for body in ["{}", r#"{"a":null}"#, r#"{"a":""}"#] {
            assert_eq!(read(body, |object| object.text("a")), (None, vec![]), "{body}");
        }
        for body in [r#"{"a":{}}"#, r#"{"a":[]}"#] {
            let limits = Limits { bytes: 9, depth: 9 };
            assert_eq!(read(body, |object| object.json("a", limits)), (None, vec![]), "{body}");
        }
    }

    #[test]
    fn a_wrong_type_counts_as_absent_and_is_named_once() {
        let body = r#"{"call":{"customer":{"number":5}}}"#;
        let number = |body: &Object<'_>| {
            let customer = body.object("call").object("call.customer");
            customer.text("call.customer.number").or_else(|| customer.text("call.customer.number"))
        };
        assert_eq!(read(body, number), (None, vec!["call.customer.number"]));
    }

    #[test]
    fn an_absent_object_is_empty_and_look_ups_go_on() {
        for (body, unreadable) in [("{}", vec![]), ("[]", vec![]), (r#"{"call":7}"#, vec!["call"])] {
            assert_eq!(read(body, |object| object.object("call").text("call.id")), (None, unreadable), "{body}");
        }
    }

    #[test]
    fn the_last_of_duplicate_names_counts() {
        assert_eq!(read(r#"{"a":1,"a":"x"}"#, |object| object.text("a")), (Some("x".to_owned()), vec![]));
    }

    #[test]
    fn a_number_out_of_range_is_unreadable_and_harms_nothing_else() {
        let body = r#"{"a":1e999,"b":-1,"c":2.5}"#;
        let numbers = |object: &Object<'_>| ["a", "b", "c"].map(|path| object.amount(path, 10.0));
        assert_eq!(read(body, numbers), ([None, None, Some(2.5)], vec!["a", "b"]));
    }

    /// E6: a number written as text counts, also as a time. An empty text is no number, and no error.
    #[test]
    fn a_number_may_be_written_as_text() {
        assert_eq!(read(r#"{"a":"42.7"}"#, |object| object.amount("a", 99.0)), (Some(42.7), vec![]));
        assert_eq!(read(r#"{"a":""}"#, |object| object.amount("a", 99.0)), (None, vec![]));
        assert_eq!(read(r#"{"a":"soon"}"#, |object| object.amount("a", 99.0)), (None, vec!["a"]));
        let time = |object: &Object<'_>| object.time("a").map(Timestamp::as_millisecond);
        let ms = "1420070400001";
        assert_eq!(read(&format!(r#"{{"a":"{ms}"}}"#), time), read(&format!(r#"{{"a":{ms}}}"#), time));
    }

    /// E4: a number that cannot be stored is left out alone.
    #[test]
    fn a_number_with_too_many_digits_is_left_out_and_named() {
        let limits = Limits { bytes: 99, depth: 9 };
        let (value, unreadable) = read(r#"{"a":{"b":1e99999,"c":2}}"#, |object| object.json("a", limits));
        assert_eq!((value, unreadable), (Some(serde_json::json!({"c": 2})), vec!["a"]));
    }

    #[test]
    fn texts_have_their_limits() {
        let body = format!(r#"{{"a":"{}"}}"#, "é".repeat(129));
        assert_eq!(read(&body, |object| object.id("a")), (None, vec!["a"]));
        assert!(read(&body, |object| object.short_text("a")).0.is_some());
        assert_eq!(read(r#"{"a":"b c"}"#, |object| object.token("a")), (None, vec!["a"]));
    }

    #[test]
    fn items_that_are_not_objects_are_left_out() {
        let ids = |object: &Object<'_>| {
            object.objects("list").map(|items| items.iter().filter_map(|item| item.text("list.id")).collect::<Vec<_>>())
        };
        let (ids, unreadable) = read(r#"{"list":[{"id":"a"},3,{"id":"b"}]}"#, ids);
        assert_eq!(ids, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(unreadable, ["list"]);
    }

    #[test]
    fn a_verdict_may_be_any_scalar() {
        for (json, text) in [(r#""Pass""#, "Pass"), ("true", "true"), ("8", "8"), ("0.5", "0.5")] {
            let body = format!(r#"{{"a":{json}}}"#);
            assert_eq!(read(&body, |object| object.scalar_text("a")).0.as_deref(), Some(text));
        }
    }
}

//! Deserializes tagged, untagged and flattened types with numbers.
//!
//! `serde_json` keeps every digit of a number (`arbitrary_precision`), so that an id of 20 digits is stored as it was
//! sent. For this purpose it presents a number of unknown type as a map with one private key. serde buffers the
//! content of tagged, untagged and flattened types, and cannot read a number from such a map. [`Exact`] presents a
//! number as an integer or a float if that loses nothing, and only else as the map, which `serde_json::Value` reads.
//!
//! A type whose buffered content can have a number is derived with `#[serde(remote = "Self")]` and passed to
//! [`exact_numbers!`](crate::exact_numbers). Without it, the first number is an error. The derived function
//! `Type::deserialize` bypasses [`Exact`], so use `serde_json::from_str` or `<Type as Deserialize>::deserialize`.

use std::fmt;
use std::iter;

use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

/// The key of the map that is a number, in `serde_json`.
const NUMBER: &str = "$serde_json::private::Number";

/// Implements `Serialize` and `Deserialize` for a type that is derived with `#[serde(remote = "Self")]`, or only
/// `Deserialize` with `exact_numbers!(deserialize Type)`.
#[macro_export]
macro_rules! exact_numbers {
    (deserialize $type:ident) => {
        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // The derived function of the type itself, which precedes the trait's.
                $type::deserialize($crate::exact::Exact(deserializer))
            }
        }
    };
    ($type:ident) => {
        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $type::serialize(self, serializer)
            }
        }
        $crate::exact_numbers!(deserialize $type);
    };
}

/// Wraps a deserializer, and the visitors, seeds and accesses to its parts.
pub struct Exact<T>(pub T);

/// Forwards methods of a deserializer, with the visitor wrapped.
macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* Exact(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Exact<D> {
    type Error = D::Error;

    forward! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// Forwards values to a visitor.
macro_rules! visit {
    ($($method:ident: $type:ty;)*) => {$(
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Exact<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(formatter)
    }

    visit! {
        visit_bool: bool;
        visit_i64: i64;
        visit_u64: u64;
        visit_f64: f64;
        visit_str: &str;
        visit_borrowed_str: &'de str;
        visit_string: String;
        visit_bytes: &[u8];
        visit_borrowed_bytes: &'de [u8];
        visit_byte_buf: Vec<u8>;
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<V::Value, E> {
        visit_digits(&value.to_string(), self.0)
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<V::Value, E> {
        visit_digits(&value.to_string(), self.0)
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Exact(deserializer))
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Exact(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Exact(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        let first: Option<String> = map.next_key()?;
        if first.as_deref() == Some(NUMBER) {
            return visit_number(&map.next_value::<String>()?, self.0);
        }
        self.0.visit_map(Fields { first, map })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Exact(variant))
    }
}

/// Visits a number as an integer or float, if that keeps its digits.
fn visit_number<'de, V: Visitor<'de>, E: de::Error>(text: &str, visitor: V) -> Result<V::Value, E> {
    if let Ok(number) = text.parse() {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = text.parse() {
        return visitor.visit_i64(number);
    }
    // Two spellings occur: Rust's and PostgreSQL's has no exponent, that of serde_json has one, which its parser returns
    // with a sign.
    match text.parse::<f64>() {
        Ok(float) if float.to_string() == text || is_spelled_by_serde_json(float, text) => visitor.visit_f64(float),
        _ => visit_digits(text, visitor),
    }
}

fn is_spelled_by_serde_json(float: f64, text: &str) -> bool {
    serde_json::to_string(&float).is_ok_and(|json| json.replace('+', "") == text.replace('+', ""))
}

fn visit_digits<'de, V: Visitor<'de>, E: de::Error>(digits: &str, visitor: V) -> Result<V::Value, E> {
    visitor.visit_map(MapDeserializer::new(iter::once((NUMBER, digits))))
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Exact<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Exact(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Exact<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(Exact(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

/// The fields of a map whose first key was read already.
struct Fields<A> {
    first: Option<String>,
    map: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(first) => seed.deserialize(StrDeserializer::new(&first)).map(Some),
            None => self.map.next_key_seed(seed),
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.map.next_value_seed(Exact(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Exact<A> {
    type Error = A::Error;
    type Variant = Exact<A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self::Variant), A::Error> {
        self.0.variant_seed(seed).map(|(value, variant)| (value, Exact(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Exact<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.0.newtype_variant_seed(Exact(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, Exact(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, Exact(visitor))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};
    use serde_json::{Value, json};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", remote = "Self")]
    enum Tagged {
        One { integer: i64, float: Option<f64>, any: Value },
    }
    exact_numbers!(Tagged);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(remote = "Self")]
    struct Flat {
        id: u8,
        #[serde(flatten)]
        tagged: Tagged,
    }
    exact_numbers!(Flat);

    proptest! {
        #[test]
        fn every_float_is_read_as_it_was_written(float in any::<f64>().prop_filter("finite", |float| float.is_finite())) {
            let tagged = Tagged::One { integer: 0, float: Some(float), any: Value::Null };
            let text = serde_json::to_string(&tagged).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Tagged>(&text).unwrap(), &tagged);
            let plain = text.replace(&serde_json::to_string(&float).unwrap(), &float.to_string());
            prop_assert_eq!(serde_json::from_str::<Tagged>(&plain).unwrap(), tagged);
        }
    }

    #[test]
    fn typed_numbers_are_read_and_other_numbers_keep_their_digits() {
        let any =
            r#"{"a":[89440000000000012345,-1,0.10,1.5e-7,123456789012345678901234.5,-99999999999999999999],"b":{}}"#;
        let text = format!(r#"{{"id":7,"kind":"One","integer":-5,"float":0.0000001,"any":{any}}}"#);
        let read: Flat = serde_json::from_str(&text).unwrap();
        let Tagged::One { integer, float, any: read_any } = &read.tagged;
        assert_eq!((read.id, *integer, *float), (7, -5, Some(1e-7)));
        assert_eq!(read_any.to_string(), any);
        let again: Flat = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!(again, read);
        let from_value: Flat = serde_json::from_value(json!(read)).unwrap();
        assert_eq!(from_value, read);
    }
}

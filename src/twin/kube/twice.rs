//! Fields that a JSON text has twice, which a parsed value does not show any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Their paths: `data.a`, `spec.ports[0].name`. None of a text that is no JSON.
pub fn fields(text: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(text);
    // What is wrong with the text is told by who reads it as a value.
    let _ = Walk { path: String::new(), found: &mut found, places: None }.deserialize(&mut reader);
    found
}

/// The place of every field in a text, by its path: the first is 0. That of one that stands twice is the last.
pub fn places(text: &[u8]) -> BTreeMap<String, usize> {
    let (mut found, mut places) = (Vec::new(), BTreeMap::new());
    let mut reader = serde_json::Deserializer::from_slice(text);
    let _ = Walk { path: String::new(), found: &mut found, places: Some(&mut places) }.deserialize(&mut reader);
    places
}

struct Walk<'a> {
    path: String,
    found: &'a mut Vec<String>,
    places: Option<&'a mut BTreeMap<String, usize>>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            if !seen.insert(key) {
                self.found.push(path.clone());
            }
            if let Some(places) = &mut self.places {
                places.insert(path.clone(), places.len());
            }
            map.next_value_seed(Walk { path, found: self.found, places: self.places.as_deref_mut() })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0;
        loop {
            let path = format!("{}[{index}]", self.path);
            let places = self.places.as_deref_mut();
            if list.next_element_seed(Walk { path, found: self.found, places })?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_field_that_stands_twice_is_found_where_it_is() {
        let text = br#"{"a":{"b":1,"c":[{"d":1,"d":2}],"b":2},"e":null}"#;
        assert_eq!(super::fields(text), ["a.c[0].d", "a.b"]);
        assert!(super::fields(b"{").is_empty());
    }
}

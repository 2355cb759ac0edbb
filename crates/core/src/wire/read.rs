//! Reads a variant's payload back into the enum.

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, EnumAccess, IgnoredAny, IntoDeserializer, VariantAccess, Visitor},
    forward_to_deserialize_any,
};
use serde_json::{Error, de::SliceRead};

/// Reads the variant called `name` from its payload.
pub(crate) fn variant_from_slice<'de, T: Deserialize<'de>>(
    name: &'static str,
    payload: &'de [u8],
) -> Result<T, Error> {
    let mut json = serde_json::Deserializer::from_slice(payload);
    let value = T::deserialize(Variant {
        name,
        json: &mut json,
    })?;
    json.end()?;
    Ok(value)
}

struct Variant<'a, 'de> {
    name: &'static str,
    json: &'a mut serde_json::Deserializer<SliceRead<'de>>,
}

impl<'de> Deserializer<'de> for Variant<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        option unit unit_struct newtype_struct seq tuple tuple_struct map struct enum
        identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let name: serde::de::value::StrDeserializer<'_, Error> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        // Whatever an earlier shape of the variant carried is of no interest now.
        IgnoredAny::deserialize(self.json).map(drop)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.json)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.json.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.json.deserialize_struct(self.name, fields, visitor)
    }
}

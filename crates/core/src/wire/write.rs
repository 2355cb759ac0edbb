//! Writes a variant's payload without the variant's name.

use serde::{
    Serialize, Serializer,
    ser::{
        Error as _, Impossible, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleVariant,
    },
};
use serde_json::Error;

type Json<'a> = &'a mut serde_json::Serializer<&'a mut Vec<u8>>;

/// The JSON of the variant's content: an object, an array, or the one value of a newtype.
pub(crate) fn variant_to_vec<T: Serialize>(event: &T) -> Result<Vec<u8>, Error> {
    let mut payload = Vec::with_capacity(128);
    let mut json = serde_json::Serializer::new(&mut payload);
    event.serialize(Variant(&mut json))?;
    Ok(payload)
}

struct Variant<'a>(Json<'a>);

struct Body<S>(S);

fn not_an_enum<T>() -> Result<T, Error> {
    Err(Error::custom(
        "only an enum with serde's default representation can be an event",
    ))
}

macro_rules! refuse {
    ($($method:ident($($ty:ty),*) $(-> $result:ty)?;)+) => {
        $(fn $method(self, $(_: $ty),*) -> Result<refuse!(@ $($result)?), Error> {
            not_an_enum()
        })+
    };
    (@) => { () };
    (@ $result:ty) => { $result };
}

impl<'a> Serializer for Variant<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Impossible<(), Error>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Body<<Json<'a> as Serializer>::SerializeTuple>;
    type SerializeMap = Impossible<(), Error>;
    type SerializeStruct = Impossible<(), Error>;
    type SerializeStructVariant = Body<<Json<'a> as Serializer>::SerializeStruct>;

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Error> {
        // An object, so that the variant can gain optional fields later.
        SerializeStruct::end(self.0.serialize_struct("", 0)?)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self.0)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        self.0.serialize_tuple(len).map(Body)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        self.0.serialize_struct(variant, len).map(Body)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Error> {
        not_an_enum()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        not_an_enum()
    }

    refuse! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
    }
}

impl<S: SerializeStruct<Ok = (), Error = Error>> SerializeStructVariant for Body<S> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.0.serialize_field(key, value)
    }

    fn end(self) -> Result<(), Error> {
        self.0.end()
    }
}

impl<S: SerializeTuple<Ok = (), Error = Error>> SerializeTupleVariant for Body<S> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.0.serialize_element(value)
    }

    fn end(self) -> Result<(), Error> {
        self.0.end()
    }
}

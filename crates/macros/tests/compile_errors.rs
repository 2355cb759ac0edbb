//! What the compiler says about each mistake that newcomers make, word for word.
//!
//! After a change, `TRYBUILD=overwrite cargo test -p annals-macros --test compile_errors` writes
//! the messages anew; read the difference before committing it.

#[test]
fn every_mistake_is_answered_with_what_to_write_instead() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}

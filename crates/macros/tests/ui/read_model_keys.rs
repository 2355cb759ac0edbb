use annals_core::ReadModel;

#[derive(ReadModel)]
#[read_model(crate = annals_core)]
struct WithoutKey {
    owner: String,
    balance: i64,
}

#[derive(ReadModel)]
#[read_model(crate = annals_core)]
struct OptionalKey {
    #[key]
    owner: Option<String>,
    #[key = "second"]
    account: String,
}

type Maybe = Option<String>;

#[derive(ReadModel)]
#[read_model(crate = annals_core)]
struct AliasedKey {
    #[key]
    owner: Maybe,
}

fn main() {}

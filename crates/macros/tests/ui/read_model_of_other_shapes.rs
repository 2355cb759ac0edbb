use annals_core::ReadModel;

#[derive(ReadModel)]
#[read_model(crate = annals_core)]
struct Balance(String, i64);

#[derive(ReadModel)]
#[read_model(crate = annals_core)]
enum Status {
    Open,
}

#[derive(ReadModel)]
#[read_model(crate = annals_core, table = "User Balance")]
struct UserBalance {
    #[key]
    ownerName: String,
}

#[derive(ReadModel)]
#[read_model(crate = annals_core, name = "balances")]
struct Balances {
    #[key]
    owner: String,
}

fn main() {}

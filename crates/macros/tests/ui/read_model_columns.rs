use annals_core::ReadModel;

struct Money(i64);

#[derive(ReadModel)]
#[read_model(crate = annals_core)]
struct UserBalance {
    #[key]
    owner: String,
    balance: Money,
}

fn main() {}

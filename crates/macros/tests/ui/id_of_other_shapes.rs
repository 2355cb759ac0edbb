use annals_core::Id;

#[derive(Id, Clone)]
#[id(crate = annals_core)]
struct AccountId {
    id: String,
}

#[derive(Id, Clone)]
#[id(crate = annals_core)]
struct SeatId(u32, u32);

#[derive(Id, Clone)]
#[id(crate = annals_core)]
enum UserId {
    Number(u64),
}

#[derive(Id, Clone)]
#[id(crate = annals_core)]
struct ListId(Vec<u8>);

fn main() {}

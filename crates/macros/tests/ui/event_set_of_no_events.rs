use annals_core::EventSet;

struct Transfer;

#[derive(EventSet)]
#[event_set(crate = annals_core)]
enum BankEvent {
    Transfer(Transfer),
}

fn main() {}

//! Which aggregates a saga may send commands to.

use serde::{Serialize, de::DeserializeOwned};

use crate::{aggregate::Aggregate, event::Event};

/// The aggregates that a saga may send commands to: a tuple of them.
///
/// A saga that sends to any other is refused when it is started. Commands wait in the saga's
/// stream until they are carried out, so they need serde's `Serialize` and `Deserialize`.
///
/// ```
/// # use annals_core::{Aggregate, Event, saga::SendsTo};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Event, Serialize, Deserialize, Clone, Debug)]
/// # #[event(crate = annals_core, category = "account")]
/// # enum AccountEvent { Deposited }
/// # #[derive(Clone, Debug, Default)] struct Account;
/// # impl Aggregate for Account {
/// #     type Id = String; type Command = u32; type Event = AccountEvent; type Error = std::convert::Infallible;
/// #     fn decide(&self, _: u32) -> Result<Vec<AccountEvent>, Self::Error> { Ok(vec![]) }
/// #     fn evolve(&mut self, _: &AccountEvent) {}
/// # }
/// assert_eq!(<(Account,)>::categories(), ["account"]);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tuple of aggregates with commands that serialise",
    note = "write `type SendsTo = (Account,);`, and derive `Serialize` and `Deserialize` for each aggregate's command"
)]
pub trait SendsTo: 'static {
    /// Shows each aggregate's type to `visitor`.
    fn visit(visitor: &mut impl TargetVisitor);

    /// The categories of the aggregates' streams.
    #[must_use]
    fn categories() -> Vec<&'static str> {
        let mut categories = Categories(Vec::new());
        Self::visit(&mut categories);
        categories.0
    }
}

/// Takes in the types of a [`SendsTo`], one by one.
pub trait TargetVisitor {
    /// One of the aggregates.
    fn aggregate<A>(&mut self)
    where
        A: Aggregate,
        A::Command: Serialize + DeserializeOwned;
}

struct Categories(Vec<&'static str>);

impl TargetVisitor for Categories {
    fn aggregate<A: Aggregate>(&mut self) {
        self.0.push(A::Event::CATEGORY);
    }
}

macro_rules! tuple_of_aggregates {
    ($($aggregate:ident),*) => {
        impl<$($aggregate),*> SendsTo for ($($aggregate,)*)
        where
            $($aggregate: Aggregate, $aggregate::Command: Serialize + DeserializeOwned),*
        {
            fn visit(_visitor: &mut impl TargetVisitor) {
                $(_visitor.aggregate::<$aggregate>();)*
            }
        }
    };
}

tuple_of_aggregates!();
tuple_of_aggregates!(A);
tuple_of_aggregates!(A, B);
tuple_of_aggregates!(A, B, C);
tuple_of_aggregates!(A, B, C, D);
tuple_of_aggregates!(A, B, C, D, E);
tuple_of_aggregates!(A, B, C, D, E, F);

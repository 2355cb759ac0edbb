//! All that is wrong with an input, so that the user sees every mistake at once.

use quote::ToTokens;

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Problems(Option<syn::Error>);

impl Problems {
    /// Notes a mistake in `tokens`.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    /// Notes the mistake of a failed step, and gives the value of one that succeeded.
    pub(crate) fn note<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|problem| self.push(problem)).ok()
    }

    /// Fails when there were any.
    pub(crate) fn finish(self) -> syn::Result<()> {
        self.0.map_or(Ok(()), Err)
    }

    fn push(&mut self, problem: syn::Error) {
        match &mut self.0 {
            Some(problems) => problems.combine(problem),
            None => self.0 = Some(problem),
        }
    }
}

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use ringfence_core::Failure;
use ringfence_vapi::FailureCode;

/// The result of `handling`. A panic becomes [`FailureCode::HandlerPanicked`].
pub async fn catch_panics<T>(handling: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let result = AssertUnwindSafe(handling).catch_unwind().await;
    result.unwrap_or_else(|_| Err(FailureCode::HandlerPanicked.into()))
}

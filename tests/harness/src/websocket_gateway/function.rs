//! The function that the gateway invokes.

use futures_util::future::BoxFuture;
use serde_json::Value;

/// Handler of the events.
pub(crate) struct Function(Box<dyn Fn(Value) -> Invocation + Send + Sync>);

type Invocation = BoxFuture<'static, Result<Value, String>>;

/// Answer of the function.
#[derive(Debug)]
pub(crate) struct Answer(Value);

impl Function {
    pub(crate) fn new<F, R>(invoke: F) -> Self
    where
        F: Fn(Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, String>> + Send + 'static,
    {
        Self(Box::new(move |event| Box::pin(invoke(event))))
    }

    /// Invokes the function. `None` if it failed, which is logged.
    pub(crate) async fn invoke(&self, event: Value) -> Option<Answer> {
        let route = event["requestContext"]["routeKey"].as_str().unwrap_or_default().to_owned();
        match (self.0)(event).await {
            Ok(answer) => Some(Answer(answer)),
            Err(error) => {
                tracing::warn!(route, error, "the function failed");
                None
            }
        }
    }
}

impl Answer {
    /// Status. `None` if the answer contains no valid status.
    pub(crate) fn status(&self) -> Option<u16> {
        self.0["statusCode"].as_u64().and_then(|status| status.try_into().ok())
    }

    /// Value of a header. The case of its name does not matter.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.0["headers"].as_object()?;
        let (_, value) = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        value.as_str()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_case_of_a_headers_name_does_not_matter() {
        let answer = Answer(json!({"statusCode": 200, "headers": {"sec-websocket-protocol": "a", "X-Number": 1}}));
        assert_eq!(answer.header("Sec-WebSocket-Protocol"), Some("a"));
        assert_eq!(answer.header("x-number"), None);
        assert_eq!(answer.status(), Some(200));
    }

    #[test]
    fn an_unknown_status_is_none() {
        for answer in [json!(null), json!({"statusCode": "200"}), json!({"statusCode": 70_000}), json!({})] {
            assert_eq!(Answer(answer.clone()).status(), None, "{answer}");
        }
    }
}

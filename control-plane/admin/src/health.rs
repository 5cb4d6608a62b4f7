//! The health of endpoints.

use waybill_model::resource::Kind;
use waybill_proto::admin::v1::{HealthRequest, HealthResponse};

use crate::{admin::Admin, error::Error};

impl Admin {
    /// What the fleet knows of the endpoints' health.
    ///
    /// # Errors
    /// [`Error::NotFound`] if neither an Endpoint nor a Model has the name, or the store failed.
    pub async fn health(&self, request: &HealthRequest) -> Result<HealthResponse, Error> {
        let name = request.name.as_str();
        if !name.is_empty() {
            let held = self.held().await?;
            if held.find(Kind::Endpoint, name).is_none() && held.find(Kind::Model, name).is_none() {
                return Err(Error::NotFound(format!("there is neither an Endpoint nor a Model `{name}`")));
            }
        }
        Ok(HealthResponse { endpoints: self.parts.running.health(name) })
    }
}

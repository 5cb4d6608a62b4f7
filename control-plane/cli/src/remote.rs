//! The admin surface over gRPC.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use waybill_proto::admin::v1::{
    AdjustRequest, AdjustResponse, ApplyChangeSetRequest, ApplyChangeSetResponse, BalancesRequest, BalancesResponse, EventRow,
    EventsRequest, ExplainRequest, ExplainResponse, GapsRequest, GapsResponse, GetRequest, GetResponse, HaltRolloutRequest,
    HaltRolloutResponse, HealthRequest, HealthResponse, ListRequest, ListResponse, QuarantineRequest, QuarantineResponse, RecomputeRequest,
    RecomputeResponse, RolloutsRequest, RolloutsResponse, StatusRequest, StatusResponse, VerifyRequest, VerifyResponse, WaitAppliedRequest,
    WaitAppliedResponse, WriteOffRequest, WriteOffResponse, config_service_client::ConfigServiceClient,
    ledger_service_client::LedgerServiceClient,
};

use crate::{
    backend::{Answer, Backend},
    command::Connection,
    error::Error,
    run::operator,
};

/// What a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Most bytes of an answer.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A connection with the token.
pub struct Remote {
    channel: Channel,
    token: MetadataValue<Ascii>,
    operator: Option<MetadataValue<Ascii>>,
}

impl Remote {
    /// Connects and reads the token.
    pub async fn connect(connection: &Connection) -> Result<Self, Error> {
        let address = connection.admin.strip_prefix("http://").unwrap_or(&connection.admin).trim_end_matches('/');
        if address.contains("://") || address.contains('/') {
            return Err(Error::Usage(format!("`{}` is not HOST:PORT: name where the admin surface listens", connection.admin)));
        }
        let malformed = |_| Error::Usage(format!("`{address}` is not HOST:PORT: name where the admin surface listens"));
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(malformed)?.connect_timeout(CONNECT).tcp_nodelay(true);
        let channel = endpoint.connect().await.map_err(|error| Error::Unreachable(nobody(address, &error)))?;
        let token = read_token(connection.token_file.as_deref())?;
        let operator = operator().and_then(|name| name.parse().ok());
        Ok(Self { channel, token, operator })
    }

    fn config(&self) -> ConfigServiceClient<Channel> {
        let client = ConfigServiceClient::new(self.channel.clone());
        client.max_decoding_message_size(ANSWER_BYTES).max_encoding_message_size(ANSWER_BYTES)
    }

    fn ledger(&self) -> LedgerServiceClient<Channel> {
        LedgerServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        if let Some(operator) = &self.operator {
            request.metadata_mut().insert("waybill-operator", operator.clone());
        }
        request
    }
}

fn nobody(address: &str, error: &tonic::transport::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    format!(
        "no Waybill listens at {address} ({cause}).\nStart one with `waybill up`, or say where it listens with --admin ADDRESS or WAYBILL_ADMIN"
    )
}

fn read_token(named: Option<&Path>) -> Result<MetadataValue<Ascii>, Error> {
    let path = named.map(Path::to_owned).or_else(default_token_file);
    let path =
        path.ok_or_else(|| Error::Usage("there is neither XDG_STATE_HOME nor HOME: name the token's file with --token-file".to_owned()))?;
    let text = fs::read_to_string(&path).map_err(|error| {
        Error::Usage(format!(
            "the operator token cannot be read from {}: {error}.\nIt lies in secrets/operator-token of the state folder: name it with --token-file FILE or WAYBILL_TOKEN_FILE",
            path.display()
        ))
    })?;
    let value = format!("Bearer {}", text.trim()).parse::<MetadataValue<Ascii>>();
    let mut value = value.map_err(|_| Error::Usage(format!("{} does not hold a token", path.display())))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The token of the default state folder.
fn default_token_file() -> Option<PathBuf> {
    let named = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    named.or_else(home).map(|folder| folder.join("waybill/secrets/operator-token"))
}

macro_rules! unary {
    ($self:ident, $client:ident . $method:ident, $message:expr) => {
        Box::pin(async move { Ok($self.$client().$method($self.request($message)).await?.into_inner()) })
    };
}

impl Backend for Remote {
    fn apply(&self, request: ApplyChangeSetRequest) -> Answer<'_, ApplyChangeSetResponse> {
        unary!(self, config.apply_change_set, request)
    }

    fn get(&self, request: GetRequest) -> Answer<'_, GetResponse> {
        unary!(self, config.get, request)
    }

    fn list(&self, request: ListRequest) -> Answer<'_, ListResponse> {
        unary!(self, config.list, request)
    }

    fn status(&self) -> Answer<'_, StatusResponse> {
        unary!(self, config.status, StatusRequest {})
    }

    fn health(&self, request: HealthRequest) -> Answer<'_, HealthResponse> {
        unary!(self, config.health, request)
    }

    fn wait_applied(&self, request: WaitAppliedRequest) -> Answer<'_, WaitAppliedResponse> {
        unary!(self, config.wait_applied, request)
    }

    fn rollouts(&self) -> Answer<'_, RolloutsResponse> {
        unary!(self, config.rollouts, RolloutsRequest {})
    }

    fn halt_rollout(&self, request: HaltRolloutRequest) -> Answer<'_, HaltRolloutResponse> {
        unary!(self, config.halt_rollout, request)
    }

    fn explain(&self, request: ExplainRequest) -> Answer<'_, ExplainResponse> {
        unary!(self, ledger.explain, request)
    }

    fn balances(&self, request: BalancesRequest) -> Answer<'_, BalancesResponse> {
        unary!(self, ledger.balances, request)
    }

    fn events(&self, request: EventsRequest) -> Answer<'_, Vec<EventRow>> {
        Box::pin(async move {
            let mut stream = self.ledger().events(self.request(request)).await?.into_inner();
            let mut rows = Vec::new();
            while let Some(response) = stream.message().await? {
                rows.push(response.row.ok_or_else(|| Status::data_loss("an answer without a row"))?);
            }
            Ok(rows)
        })
    }

    fn verify(&self) -> Answer<'_, VerifyResponse> {
        unary!(self, ledger.verify, VerifyRequest {})
    }

    fn recompute(&self) -> Answer<'_, RecomputeResponse> {
        unary!(self, ledger.recompute, RecomputeRequest {})
    }

    fn adjust(&self, request: AdjustRequest) -> Answer<'_, AdjustResponse> {
        unary!(self, ledger.adjust, request)
    }

    fn gaps(&self) -> Answer<'_, GapsResponse> {
        unary!(self, ledger.gaps, GapsRequest {})
    }

    fn write_off(&self, request: WriteOffRequest) -> Answer<'_, WriteOffResponse> {
        unary!(self, ledger.write_off, request)
    }

    fn quarantine(&self, request: QuarantineRequest) -> Answer<'_, QuarantineResponse> {
        unary!(self, ledger.quarantine, request)
    }
}

//! The vocabulary: what a task definition, a service, a grant and a node *are*.
//!
//! Every other module speaks in these types. They are plain data that can be stored, sent and
//! compared; a value that exists is valid, because the constructors and `FromStr` impls refuse
//! everything else.
//!
//! *Invariant:* nothing here awaits, reads a clock, logs, draws randomness or imports another
//! module of Wharf.
//!
//! Start reading at [`TaskDefinition`], then [`Service`], then [`Grant`].

mod code;
mod ids;
mod resources;
mod limits;
mod mirror;
mod networks;
mod reach;
mod route;
mod rules;
mod outbound;
mod role;
mod task_definition;
mod scaling;
mod schedule;
mod service;
mod health;
mod traffic;
mod upstream;
mod steering;
mod rollout;
mod node;
mod grant;
mod snapshot;

pub use code::Code;
pub use grant::{Grant, GrantPhase, GrantStatus, GrantedRevision, RevisionStatus};
pub use health::{Health, HealthState, InvalidProbePath, Probe, ProbePath};
pub use ids::{InvalidName, Name, NodeId, TaskDefinitionId, TaskId};
pub use limits::Limits;
pub use mirror::{Mirror, MirrorTo};
pub use networks::Networks;
pub use node::{Capacity, Node, NodeStatus};
pub use outbound::{
    INTERNAL_ZONE, InvalidOrigin, Origin, OriginHost, OriginScheme, Outbound, address_of,
    internal_name,
};
pub use reach::{Reach, reach};
pub use resources::{ByteSize, CpuUnits, InvalidQuantity, duration};
pub use role::{Callees, Role, RoleLimits};
pub use rollout::{
    Alarm, Baseline, Breaker, DeployPolicy, Event, Failure, Order, Revision, Rollout, Stage,
    Strategy, TaskCounts,
};
pub use route::{HostPattern, InvalidRoute, RoutePattern};
pub use rules::{InvalidMethod, Methods, Rate, RateKey, RateLimit, Route, RouteRules};
pub use scaling::{Adjust, Metric, ScalePolicies, Step, Targets, Threshold};
pub use schedule::{Cron, InvalidCron, ScheduledBounds, UnknownZone, Zone};
pub use service::{InvalidScale, QueueBounds, Scale, Service};
pub use snapshot::Snapshot;
pub use steering::{Affinity, InvalidToken, Mark, Marked, Steering, Token};
pub use task_definition::TaskDefinition;
pub use traffic::{InvalidPercent, Percent, TrafficTarget, tagged_route};
pub use upstream::{
    Ejection, HostHeader, InvalidTarget, Retry, TargetScheme, TargetUrl, Upstream, UpstreamPolicy,
};

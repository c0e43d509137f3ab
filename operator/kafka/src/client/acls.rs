//! Access control lists, in requests of our own: krafka numbers pattern types as if there were no MATCH between ANY and LITERAL
//! (KIP-290), so that its LITERAL is another thing and PREFIXED cannot be said at all.

use std::collections::{BTreeSet, HashMap};

use kafka_protocol::{
    messages::{
        CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest, DeleteAclsResponse, DescribeAclsRequest,
        DescribeAclsResponse, create_acls_request::AclCreation, delete_acls_request::DeleteAclsFilter,
        delete_acls_response::DeleteAclsMatchingAcl,
    },
    protocol::StrBytes,
};
use krafka::{__private::protocol::ApiKey, Result as KrafkaResult, error::ErrorCode as Code};
use tokio::time::Instant;

use super::{
    link::Client,
    raw::{self, Versions, Wire},
};
use crate::{Acl, AclFilter, Operation, PatternType, Permission, ResourceType};

/// "Any" of every number in a filter.
const ANY: i8 = 1;

/// From v1 ACLs have pattern types.
const fn versions(api: ApiKey) -> Versions {
    Versions { api, min: 1, max: 3 }
}

pub(super) async fn describe(client: &Client, filter: &AclFilter, deadline: Instant) -> KrafkaResult<BTreeSet<Acl>> {
    let filter = Numbers::from(filter);
    let request = DescribeAclsRequest::default()
        .with_resource_type_filter(filter.resource)
        .with_resource_name_filter(filter.name)
        .with_pattern_type_filter(filter.pattern)
        .with_principal_filter(filter.principal)
        .with_host_filter(filter.host)
        .with_operation(filter.operation)
        .with_permission_type(filter.permission);
    let connection = raw::controller(&client.kafka, deadline).await?;
    let Wire(response): Wire<DescribeAclsResponse> =
        raw::exchange(&connection, versions(ApiKey::DescribeAcls), &Wire(request), deadline).await?;
    answer(response.error_code, response.error_message)?;
    let of = |resource: kafka_protocol::messages::describe_acls_response::DescribeAclsResource| {
        let (type_, pattern, name) = (resource.resource_type, resource.pattern_type, resource.resource_name);
        resource.acls.into_iter().map(move |acl| Acl {
            principal: acl.principal.to_string(),
            host: acl.host.to_string(),
            permission: Permission::from_wire(acl.permission_type),
            operation: Operation::from_wire(acl.operation),
            resource: ResourceType::from_wire(type_),
            pattern: PatternType::from_wire(pattern),
            name: name.to_string(),
        })
    };
    Ok(response.resources.into_iter().flat_map(of).collect())
}

pub(super) async fn create(
    client: &Client,
    acls: Vec<Acl>,
    deadline: Instant,
) -> KrafkaResult<HashMap<Acl, KrafkaResult<()>>> {
    let creation = |acl: &Acl| {
        AclCreation::default()
            .with_resource_type(acl.resource.wire())
            .with_resource_name(text(&acl.name))
            .with_resource_pattern_type(acl.pattern.wire())
            .with_principal(text(&acl.principal))
            .with_host(text(&acl.host))
            .with_operation(acl.operation.wire())
            .with_permission_type(acl.permission.wire())
    };
    let request = CreateAclsRequest::default().with_creations(acls.iter().map(creation).collect());
    let connection = raw::controller(&client.kafka, deadline).await?;
    let Wire(response): Wire<CreateAclsResponse> =
        raw::exchange(&connection, versions(ApiKey::CreateAcls), &Wire(request), deadline).await?;
    // Answers come in the order of the request.
    let outcomes = response.results.into_iter().map(|result| answer(result.error_code, result.error_message));
    Ok(acls.into_iter().zip(outcomes).collect())
}

pub(super) async fn delete(
    client: &Client,
    filters: Vec<AclFilter>,
    deadline: Instant,
) -> KrafkaResult<HashMap<AclFilter, KrafkaResult<BTreeSet<Acl>>>> {
    let wanted = |filter: &AclFilter| {
        let filter = Numbers::from(filter);
        DeleteAclsFilter::default()
            .with_resource_type_filter(filter.resource)
            .with_resource_name_filter(filter.name)
            .with_pattern_type_filter(filter.pattern)
            .with_principal_filter(filter.principal)
            .with_host_filter(filter.host)
            .with_operation(filter.operation)
            .with_permission_type(filter.permission)
    };
    let request = DeleteAclsRequest::default().with_filters(filters.iter().map(wanted).collect());
    let connection = raw::controller(&client.kafka, deadline).await?;
    let Wire(response): Wire<DeleteAclsResponse> =
        raw::exchange(&connection, versions(ApiKey::DeleteAcls), &Wire(request), deadline).await?;
    let outcomes = response.filter_results.into_iter().map(|result| {
        answer(result.error_code, result.error_message)?;
        result.matching_acls.into_iter().map(deleted).collect()
    });
    Ok(filters.into_iter().zip(outcomes).collect())
}

fn deleted(acl: DeleteAclsMatchingAcl) -> KrafkaResult<Acl> {
    answer(acl.error_code, acl.error_message)?;
    Ok(Acl {
        principal: acl.principal.to_string(),
        host: acl.host.to_string(),
        permission: Permission::from_wire(acl.permission_type),
        operation: Operation::from_wire(acl.operation),
        resource: ResourceType::from_wire(acl.resource_type),
        pattern: PatternType::from_wire(acl.pattern_type),
        name: acl.resource_name.to_string(),
    })
}

/// A filter as the protocol writes it.
struct Numbers {
    principal: Option<StrBytes>,
    host: Option<StrBytes>,
    permission: i8,
    operation: i8,
    resource: i8,
    pattern: i8,
    name: Option<StrBytes>,
}

impl From<&AclFilter> for Numbers {
    fn from(filter: &AclFilter) -> Self {
        let texts = |part: &Option<String>| part.as_deref().map(text);
        Self {
            principal: texts(&filter.principal),
            host: texts(&filter.host),
            permission: filter.permission.map_or(ANY, Permission::wire),
            operation: filter.operation.map_or(ANY, Operation::wire),
            resource: filter.resource.map_or(ANY, ResourceType::wire),
            pattern: filter.pattern.map_or(ANY, PatternType::wire),
            name: texts(&filter.name),
        }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn answer(code: i16, message: Option<StrBytes>) -> KrafkaResult<()> {
    raw::answer(Code::from_i16(code), message.map(|message| message.to_string()))
}

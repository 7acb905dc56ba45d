"""The kinds that are asked and never stored: TokenRequest, TokenReview, SelfSubjectAccessReview, SelfSubjectReview."""

from __future__ import annotations

import datetime
import json
from typing import Any

from clusters.lab.api import auth, resources
from clusters.lab.api.operations import Operations, WriteOptions, now
from clusters.lab.api.resources import ResourceType
from clusters.lab.api.schema import Decoder
from clusters.lab.api.status import Causes, bad_request, invalid
from clusters.lab.pki import Authority

Object = dict[str, Any]
_SHORTEST = 600


def request(operations: Operations, authority: Authority, account: Object, body: Any, options: WriteOptions) -> Object:
    """A TokenRequest with its status: a token for the ServiceAccount `account`.

    Raises:
        StatusError: It asks for less than ten minutes, or is bound to an object that is not there.
    """
    if not isinstance(body, dict):
        raise bad_request("the body of a token request is a TokenRequest")
    asked: Object = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"} | Decoder(
        "TokenRequest", "v1"
    ).decode(body)
    spec, causes = asked["spec"], Causes()
    seconds = spec.setdefault("expirationSeconds", 3600)
    if seconds < _SHORTEST:
        causes.invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    bound = spec.get("boundObjectRef")
    if bound is not None and bound.get("kind") == "Pod":
        pod = operations.get(resources.PODS, account["metadata"]["namespace"], bound.get("name", ""))
        bound.setdefault("uid", pod.object["metadata"]["uid"])
    if causes.found:
        raise invalid(resources.SERVICE_ACCOUNTS, account["metadata"]["name"], causes.found)
    spec["audiences"] = spec.get("audiences") or [auth.ISSUER]
    token, end = auth.issue_token(authority, account, seconds=seconds, audiences=spec["audiences"], bound=bound)
    until = datetime.datetime.fromtimestamp(end, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if not options.dry_run:
        asked["status"] = {"token": token, "expirationTimestamp": until}
    meta = {"name": account["metadata"]["name"], "namespace": account["metadata"]["namespace"]}
    return asked | {"metadata": meta | {"creationTimestamp": now()}}


def review(operations: Operations, resource: ResourceType, user: auth.User, body: Any, options: WriteOptions) -> Object:
    """The answer to "may I?" or "who am I?".

    Raises:
        StatusError: The body is not such a question.
    """
    obj = operations.decode(resource, body, options)
    if resource == resources.SELF_REVIEWS:
        who = {"username": user.name, "groups": list(user.groups)} | ({"uid": user.uid} if user.uid else {})
        return obj | {"status": {"userInfo": who}}
    asked = obj.get("spec", {}).get("resourceAttributes", {})
    verb, plural = asked.get("verb", ""), asked.get("resource", "")
    return obj | {"status": {"allowed": auth.may(user, verb, plural)}}


def token_review(operations: Operations, authority: Authority, body: Any, options: WriteOptions) -> Object:
    """A TokenReview with its status: whose token it is, and for which of the audiences that were asked for.

    Raises:
        StatusError: The body is no such question.
    """
    obj = operations.decode(resources.TOKEN_REVIEWS, body, options)
    spec = obj["spec"]
    if not spec.get("token"):
        raise bad_request("token is required for TokenReview in authentication")
    wanted = spec.get("audiences") or [auth.ISSUER]
    claims = auth.claims_of(authority, spec["token"])
    if claims is None:
        return obj | {"status": {"user": {}, "error": "[invalid bearer token]"}}
    audiences = [each for each in wanted if each in claims["aud"]]
    if not audiences:
        said = json.dumps(claims["aud"])
        return obj | {
            "status": {
                "user": {},
                "error": f"[invalid bearer token, token audiences {said} is invalid for the "
                f"target audiences {json.dumps(wanted)}]",
            }
        }
    if gone := _gone(operations, claims):
        return obj | {"status": {"user": {}, "error": f"[invalid bearer token, {gone}]"}}
    user, bound = auth.account_of(claims), claims["kubernetes.io"].get("pod")
    extra = {"authentication.kubernetes.io/credential-id": [f"JTI={claims['jti']}"]}
    if bound:
        extra["authentication.kubernetes.io/pod-name"] = [bound["name"]]
        extra["authentication.kubernetes.io/pod-uid"] = [bound["uid"]]
    who = {"username": user.name, "uid": user.uid, "groups": list(user.groups), "extra": extra}
    return obj | {"status": {"authenticated": True, "user": who, "audiences": audiences}}


def _gone(operations: Operations, claims: Object) -> str:
    """Why a token counts no more: its account or its pod is gone, or another one by now."""
    said = claims["kubernetes.io"]
    account = operations.store.get(
        resources.SERVICE_ACCOUNTS.qualified, said["namespace"], said["serviceaccount"]["name"]
    )
    if account is None or account.object["metadata"]["uid"] != said["serviceaccount"]["uid"]:
        return "service account token has been invalidated"
    if bound := said.get("pod"):
        pod = operations.store.get(resources.PODS.qualified, said["namespace"], bound["name"])
        if pod is None or pod.object["metadata"]["uid"] != bound["uid"]:
            return "service account token has been invalidated"
    return ""

"""A connection of an agent file: where a system is, how we prove who we are, what it may do to us."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from models.settings import StrictModel
from pipeline.tools.definition import Effect
from serve.connectors.secret_values import SecretRef
from serve.connectors.text import TextLimits

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
HeaderValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]
Url = Annotated[str, Field(pattern=r"^https?://[^/\s?#@]+(/[^\s?#]*)?$")]
"""http or https, a host, perhaps a path; no user, query or fragment."""


Identity = str | SecretRef
"""What names us rather than proves it (a user name, a client id): written here, or kept with the secrets."""


def origin(url: str) -> str:
    """Scheme, host and port of an absolute URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class NoAuth(StrictModel):
    """The system asks for nothing."""

    kind: Literal["none"] = "none"


class BearerAuth(StrictModel):
    """A token that somebody made by hand and that does not expire on its own."""

    kind: Literal["bearer"]
    token: SecretRef
    scheme: HeaderValue = "Bearer"
    """The word before the token in the Authorization header."""


class BasicAuth(StrictModel):
    """User name and password."""

    kind: Literal["basic"]
    username: Identity
    password: SecretRef


class ApiKeyAuth(StrictModel):
    """A key in a header of its own."""

    kind: Literal["api_key"]
    header: HeaderName
    """The header that the key is sent in."""
    key: SecretRef


class TokenAuth(StrictModel):
    """What all kinds have that fetch a token from the system first."""

    token_url: Url
    """Where tokens are issued. Must not redirect."""
    scheme: HeaderValue = "Bearer"
    """The word before the token in the Authorization header."""
    scope: str | None = None
    """What the token is asked for."""
    parameters: dict[str, str] = Field(default_factory=dict)
    """What else the token request says (`audience`, `resource`). Nothing secret."""
    encoding: Literal["form", "json"] = "form"
    """How the token request is written; the OAuth standard says form."""
    lifetime_s: float = Field(1800.0, gt=0)
    """How long a token is used if the answer has no `expires_in`; one that is refused before is replaced at once."""


class ClientCredentialsAuth(TokenAuth):
    """OAuth 2 client credentials: the agent acts as itself."""

    kind: Literal["client_credentials"]
    client_id: Identity
    client_secret: SecretRef
    client_in: Literal["body", "basic"] = "body"
    """Whether the client's id and secret stand in the body or in a Basic header."""


class RefreshTokenAuth(TokenAuth):
    """OAuth 2 refresh token: the agent acts for whoever once agreed."""

    kind: Literal["refresh_token"]
    client_id: Identity
    client_secret: SecretRef
    refresh_token: SecretRef
    """If the system replaces it with each use, the newest one is kept in memory only."""
    client_in: Literal["body", "basic"] = "body"
    """Whether the client's id and secret stand in the body or in a Basic header."""


class JwtBearerAuth(TokenAuth):
    """OAuth 2 JWT bearer: the agent signs a statement with its private key."""

    kind: Literal["jwt_bearer"]
    private_key: SecretRef
    """PEM."""
    algorithm: Literal["RS256", "RS384", "RS512", "ES256", "ES384"] = "RS256"
    """Of the assertion's signature."""
    key_id: str | None = None
    """The `kid` header."""
    issuer: Identity
    """Usually the client id."""
    subject: str | None = None
    """The user to act for; the issuer if not given."""
    audience: str
    """Who the statement is for; usually the login host."""
    assertion_lifetime_s: float = Field(180.0, gt=0, le=600)
    """How long the statement is valid."""


Auth = Annotated[
    NoAuth | BearerAuth | BasicAuth | ApiKeyAuth | ClientCredentialsAuth | RefreshTokenAuth | JwtBearerAuth,
    Field(discriminator="kind"),
]


class HttpConnection(StrictModel):
    """A system that is reached over HTTP."""

    kind: Literal["http"] = "http"
    base_url: Url
    """What a tool's relative URL is put behind."""
    auth: Auth = NoAuth()
    """How we prove who we are."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """Sent with every request. Nothing secret."""
    allow_private: bool = False
    """The system is one of your own: http and private addresses are allowed. Metadata services never are."""
    redirects: int = Field(2, ge=0, le=5)
    """How many redirects are followed; each is checked like a new request."""
    busy: tuple[str, ...] = ()
    """JMESPath tests on an error's body: the system has too much to do and did nothing, whatever its status says."""
    largest_answer_kb: int = Field(512, ge=1, le=16_384)
    """A larger answer is a failure."""
    text: TextLimits = TextLimits()


class McpServer(StrictModel):
    """A Model Context Protocol server. Its tools are listed when a call starts; only those in `allow` exist."""

    kind: Literal["mcp"]
    url: Url | None = None
    """Streamable HTTP."""
    command: tuple[str, ...] = ()
    """Stdio: the program to start, and its arguments. It runs with our rights."""
    environment: dict[str, SecretRef] = Field(default_factory=dict)
    """For `command`: variables it gets beyond HOME, PATH, USER and the like."""
    auth: Auth = NoAuth()
    """For `url`."""
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    """For `url`: sent with every request. Nothing secret."""
    allow: dict[str, Effect] = Field(min_length=1)
    """The server's tools that this agent may use, and whether they only read. What the server adds later stays unknown;
    what it says itself about reading or writing is not believed."""
    allow_private: bool = False
    """For `url`: http and private addresses are allowed."""
    connect_timeout_s: float = Field(5.0, gt=0, le=60)
    """How long starting it and listing its tools may take."""
    text: TextLimits = TextLimits()

    @model_validator(mode="after")
    def _one_way(self) -> McpServer:
        if (self.url is None) == (not self.command):
            raise ValueError("an MCP server has either `url` or `command`")
        if self.url is None and (self.auth.kind != "none" or self.headers or self.allow_private):
            raise ValueError("auth, headers and allow_private belong to `url`; a command gets secrets by `environment`")
        if self.url is not None and self.environment:
            raise ValueError("environment belongs to `command`")
        return self


Connection = Annotated[HttpConnection | McpServer, Field(discriminator="kind")]

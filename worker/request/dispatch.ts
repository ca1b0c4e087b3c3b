// Requests: whether they reach the handler, how the handler is called, and how a failed request ends.
//
// Invariant: a pending request has its ResponseImpl in `peer.response` until it is answered, refused or lost. While its
// body is streamed, `peer.upload` receives the pieces.

import { CloseReason, Outcome } from "../../assembly/abi";
import { isInstance, isThenable, whenSettled } from "../../host/shared/result";
import { isProtocolList } from "../socket/deflate";
import type { Handler } from "../../host/handler";
import type { EngineLoop } from "../engine/loop";
import { Once } from "./error-throttle";
import { type ForwardRules, clientOf } from "./forwarded";
import type { AccessLog } from "./access-log";
import { type MetricsRules, answerMetrics } from "./metrics";
import { OWN_FIELDS } from "../../host/options/site/mounts";
import type { Field } from "../../host/shared/request/response";
import { toBytes } from "../../host/shared/text/text";
import type { Mounts } from "../mount/mounts";
import type { Origin } from "../mount/proxy";
import type { ConnectUpstream, UpstreamSink } from "../net/transport";
import { Pipe, type PipeOwner } from "../pipe/pipe";
import type { MaybePromise } from "../mount/source";
import { httpsUrl, isRedirected } from "./redirect";
import { Hosts, type VirtualHost } from "./hosts";
import { type OriginRules, isHostAllowed, isOriginAllowed } from "./origin";
import type { Peer } from "../socket/peer";
import type { Protocols } from "./protocols";
import { BodyError, Upload, type UploadOwner } from "./body";
import { RequestImpl } from "./request";
import { statusOf } from "./responder";
import { ResponseImpl, type ResponseOwner } from "./response";

/** The part of the pump that requests need. */
interface RequestsOwner extends ResponseOwner, UploadOwner, PipeOwner {
  peer(id: number): Peer | undefined;
  readonly loop: EngineLoop<Peer>;
  /** Returns the handler of a connection's request. */
  handlerOf(peer: Peer): Handler;
  isForwarder(address: string): boolean;
  metrics(): string;
  fail(thrown: unknown, where: string): void;
  setReading(peer: Peer): void;
}

/** Characters of an origin or host that a report shows. */
const SHOWN = 256;

/** Body of the response to a request without TLS on a listener with TLS. */
const NEEDS_TLS =
  "Bad Request: this port speaks TLS, so the URL must begin with https:// or wss://\n";

export interface RequestRules {
  /** Origins and hosts that may connect. */
  readonly rules?: OriginRules;
  /** The virtual hosts, in the order of their numbers; none: requests pay nothing for them. */
  readonly hosts?: readonly VirtualHost[];
  /** Proxies whose forwarding fields are trusted; undefined: none. */
  readonly forwarding?: ForwardRules | undefined;
  /** Path of the metrics, and the addresses that may read them; undefined: they are not served. */
  readonly metrics?: MetricsRules | undefined;
  /** Called with the handler's errors, and once for each origin and host that is refused. */
  readonly failed?: (error: Error, where: string) => void;
  /** The access log; undefined: there is none, and requests pay nothing for it. */
  readonly log?: AccessLog | undefined;
}

/** Returns a sink that gets some bytes before those of an upstream. */
function afterHead(head: Uint8Array, sink: UpstreamSink): UpstreamSink {
  return {
    opened() {
      sink.opened();
      sink.received(head);
    },
    received: (bytes) => sink.received(bytes),
    written: () => sink.written(),
    ended: () => sink.ended(),
    lost: (error) => sink.lost(error),
  };
}

/** Ends a request for which `request` is not called. */
function over(request: RequestImpl): void {
  request.settled();
  request.answered();
}

export class Requests {
  readonly #pump: RequestsOwner;
  readonly #loop: EngineLoop<Peer>;
  /** The rules for requests without TLS and with it, by the numbers of the virtual hosts; first the server's. */
  readonly #rules: readonly OriginRules[];
  readonly #secureRules: readonly OriginRules[];
  /** The virtual hosts; undefined: there are none. */
  readonly hosts: Hosts | undefined;
  readonly #forwarding: ForwardRules | undefined;
  readonly #metrics: MetricsRules | undefined;
  readonly #refused: Once;
  readonly #log: AccessLog | undefined;
  /** The port to which listeners redirect. */
  redirectPort = 443;
  /** The mounts of the server; undefined: there are none. */
  mounts: Mounts | undefined;

  constructor(
    pump: RequestsOwner,
    { rules = {}, hosts = [], forwarding, metrics, failed, log }: RequestRules,
  ) {
    this.#pump = pump;
    this.#loop = pump.loop;
    this.hosts = hosts.length > 0 ? new Hosts(hosts, pump.loop.engine) : undefined;
    const ofHosts = hosts.map(({ origins = rules.origins }) => ({ ...rules, origins }));
    this.#rules = [rules, ...ofHosts];
    this.#secureRules = this.#rules.map((one) => ({ ...one, secure: true }));
    this.#forwarding = forwarding;
    this.#metrics = metrics;
    this.#log = log;
    this.#refused = new Once((text) => failed?.(new Error(text), "origin"));
  }

  #requestOf(peer: Peer): RequestImpl {
    const { slot, id, peerAddress, link, hostTraits } = peer;
    const { engine } = this.#loop;
    const { peerCertificate } = link;
    const request = new RequestImpl(engine, slot, id, peerAddress, peerCertificate, hostTraits);
    if (this.#log) request.arrivedAt = this.#log.now();
    if (this.#forwarding && peer.forwards) {
      const field = request.header(this.#forwarding.field);
      request.remoteAddress = clientOf(peer.peerAddress, field, this.#forwarding);
    }
    return request;
  }

  /** Counts an upgrade under its client's address. @returns false when the address has as many WebSockets as it may */
  isAddressFree(peer: Peer, address: string): boolean {
    if (!peer.forwards || this.#pump.isForwarder(address)) return true;
    return this.#loop.setAddress(peer, address) !== Outcome.Full;
  }

  ask(peer: Peer): void {
    const request = this.#requestOf(peer);
    if (this.#admit(peer, request)) this.#answer(peer, request);
  }

  /** Checks a request, and refuses it if it must not reach the handler. @returns false when it was refused */
  #admit(peer: Peer, request: RequestImpl): boolean {
    const refusal = this.#judge(peer, request);
    if (refusal !== 0) this.#refuse(peer, request, refusal);
    else if (this.mounts?.hasModules || this.#protocols.hasModules) this.#enter(peer, request);
    return refusal === 0;
  }

  /** Refuses a request that has not been answered. */
  #refuse(peer: Peer, request: RequestImpl, reason: CloseReason): void {
    if (this.#log) request.log(this.#log, statusOf(reason), -1);
    this.#loop.abandon(peer, reason);
  }

  /**
   * Logs a request that the engine refused before it was known here.
   * @param hasHead whether its request line was read @param length bytes of the response's body
   */
  logRefusal(peer: Peer, status: number, hasHead: boolean, length: number): void {
    if (!this.#log) return;
    if (!hasHead) {
      this.#log.addUnread(peer.peerAddress, status, length);
      return;
    }
    const request = this.#requestOf(peer);
    // The time of its arrival is not known.
    request.arrivedAt = -1;
    request.log(this.#log, status, length);
    over(request);
  }

  /** Reports a request that was refused because of its host, once for each host. @param why names the option */
  #refuseHost(request: RequestImpl, why: (host: string) => string): CloseReason {
    const host = JSON.stringify(request.host.slice(0, SHOWN));
    this.#refused.add(`host ${host}`, why(host));
    return CloseReason.HostRefused;
  }

  /** Reports an upgrade whose origin was refused, with the option that would allow it. */
  #refuseOrigin(request: RequestImpl, host: VirtualHost | undefined): CloseReason {
    const origin = request.header("origin")?.slice(0, SHOWN);
    if (origin === undefined) {
      this.#refused.add(
        "none",
        "requireOrigin: an upgrade without an Origin was refused (403); requireOrigin: false would allow it",
      );
    } else {
      const from = JSON.stringify(origin);
      const to = JSON.stringify(request.host.slice(0, SHOWN));
      const option = host?.origins ? `${host.option}.origins` : "origins";
      this.#refused.add(
        `origin ${from}`,
        `${option}: an upgrade from the origin ${from} to the host ${to} was refused (403); ` +
          `to allow it, add it to ${option}`,
      );
    }
    return CloseReason.OriginRefused;
  }

  /** Gives a request to the module of its mount, or an upgrade to that of its subprotocol, if there is one. */
  #enter(peer: Peer, request: RequestImpl): void {
    const { mounts } = this;
    if (mounts?.hasModules) {
      const module = mounts.moduleOf(request, this.#hostOf(peer));
      // Without virtual hosts it is still the module of the request before.
      if (module !== 0 || this.hosts === undefined) peer.module = module;
      if (module !== 0) return;
    }
    // A connection ends with an upgrade, so this module is of no other request.
    const module = request.upgrade ? this.#protocols.find(request) : 0;
    if (module !== 0) peer.module = module;
  }

  get #protocols(): Protocols {
    return this.#pump.responder.protocols;
  }

  /** Returns true for an upgrade of a subprotocol whose module leaves the decision to the server. */
  #isAccepted(peer: Peer, request: RequestImpl): boolean {
    const { module } = peer;
    return module !== 0 && request.upgrade && this.#protocols.find(request) === module;
  }

  /** Returns the number of the virtual host that a request is for; 0: none. */
  #hostOf(peer: Peer): number {
    return this.hosts === undefined ? 0 : this.hosts.numberOf(peer);
  }

  /** Handles the head of a request with a body. The handler decides whether the body is streamed. */
  askForBody(peer: Peer): void {
    const request = this.#requestOf(peer);
    if (!this.#admit(peer, request)) return;
    const handler = this.#pump.handlerOf(peer);
    const { streams } = handler;
    const lacksTls = this.#lacksTls(peer, request);
    const isPassedOn = this.mounts?.streams(request, this.#hostOf(peer)) ?? false;
    let isWanted = streams === true || lacksTls || isPassedOn;
    try {
      if (!isWanted && typeof streams === "function") isWanted = streams.call(handler, request);
    } catch (thrown) {
      this.#pump.fail(thrown, "streams");
      this.#refuse(peer, request, CloseReason.HandlerError);
      over(request);
      return;
    }
    if (!isWanted) {
      // The body arrives with another request event.
      this.#logRefused(request, this.#loop.collect(peer));
      over(request);
      return;
    }
    const upload = new Upload(this.#pump, peer);
    request.streams(upload);
    const outcome = this.#loop.stream(peer);
    if (outcome !== Outcome.Ok) {
      this.#logRefused(request, outcome);
      over(request);
      return;
    }
    peer.upload = upload;
    this.#answer(peer, request);
  }

  /** Logs a request whose body is too long, if the engine refused it. */
  #logRefused(request: RequestImpl, outcome: Outcome): void {
    if (this.#log && outcome === Outcome.TooLarge)
      request.log(this.#log, statusOf(CloseReason.LargeRequest), -1);
  }

  /** Handles the end of a streamed body. When it broke off, its request has been refused. */
  endBody(peer: Peer, reason: number): void {
    const { upload, response } = peer;
    if (reason !== 0) {
      if (response) this.#logBroken(response as ResponseImpl, reason);
      peer.response = undefined;
      this.leaveBody(peer, reason);
      response?.lose();
      return;
    }
    peer.upload = undefined;
    upload?.end();
  }

  /** Logs a request that was refused while its body was streamed, unless its response has begun. */
  #logBroken({ request }: ResponseImpl, reason: CloseReason): void {
    const status = statusOf(reason);
    if (this.#log && status !== 0) request.log(this.#log, status, -1);
  }

  /** Stops receiving a streamed body. */
  leaveBody(peer: Peer, reason: CloseReason): void {
    const { upload } = peer;
    peer.upload = undefined;
    upload?.fail(reason);
  }

  /** Lets the server itself answer a request, or else its handler. */
  #answer(peer: Peer, request: RequestImpl): void {
    const response = new ResponseImpl(this.#pump, peer, request);
    peer.response = response;
    if (this.#lacksTls(peer, request)) {
      this.#sendToTls(peer, response);
      return;
    }
    if (this.#metrics && !request.upgrade && this.#answerMetrics(this.#metrics, peer, response))
      return;
    const { request: handle } = this.#pump.handlerOf(peer);
    const hasHandler = handle !== undefined || this.#isAccepted(peer, request);
    const served = this.mounts ? this.#attempt(peer, response, hasHandler) : false;
    if (served === true) request.settled();
    else if (served === false) this.#handle(peer, request, response);
    else
      whenSettled(
        served,
        (isServed) => {
          // The client may have left meanwhile.
          if (isServed === true || response.sent) request.settled();
          else this.#handle(peer, request, response);
        },
        (thrown) => {
          request.settled();
          this.failRequest(peer, response, thrown);
        },
      );
  }

  /** Lets the mounts answer. @returns whether one did */
  #attempt(peer: Peer, response: ResponseImpl, hasHandler: boolean): MaybePromise<boolean> {
    try {
      return this.mounts?.serve(response, this.#hostOf(peer), hasHandler) ?? false;
    } catch (thrown) {
      this.failRequest(peer, response, thrown);
      return true;
    }
  }

  /** Returns the peer and the protocol of a request that is passed on to another server. */
  originOf({ request: { id, secure } }: ResponseImpl): Origin {
    const peer = this.#pump.peer(id);
    return {
      peer: peer?.peerAddress ?? "",
      isSecure: secure,
      isTrusted: peer?.forwards ?? false,
    };
  }

  /**
   * Takes the connection of a request out of HTTP, and connects it with an upstream.
   * @param head bytes for the client before those of the upstream
   * @returns false when the client has left, or there is no room for a pipe
   */
  join(response: ResponseImpl, head: string, connect: ConnectUpstream): boolean {
    const peer = this.#pump.peer(response.request.id);
    if (!peer || peer.response !== response) return false;
    const { request } = response;
    const log = this.#log;
    const isLogged = log !== undefined && request.log(log, 101, 0);
    const first = this.#loop.takeOut(peer, 0);
    if (!(first instanceof Uint8Array)) {
      if (isLogged) request.unlog(log);
      return false;
    }
    peer.response = undefined;
    request.answered();
    const pipe = new Pipe(this.#pump, peer, first, () => undefined);
    peer.pipe = pipe;
    pipe.connect((sink) => connect(afterHead(toBytes(head), sink)));
    this.#pump.setReading(peer);
    return true;
  }

  /** Answers a request with a file of a mount, because its handler said so. */
  pass(peer: Peer, path: string, fields: readonly Field[], close: boolean): boolean {
    const request = this.#requestOf(peer);
    const own = fields.filter(([name]) => !OWN_FIELDS.has(name.toLowerCase()));
    const response = new ResponseImpl(this.#pump, peer, request).checked(own);
    if (close) response.close();
    // The handler's own response is over with it.
    peer.response = response;
    whenSettled(
      this.#find(peer, response, path),
      (isServed) => {
        if (isServed !== true && !response.sent) response.refuse(404, "Not Found\n");
        request.settled();
      },
      (thrown) => {
        request.settled();
        this.failRequest(peer, response, thrown);
      },
    );
    return true;
  }

  async #find(peer: Peer, response: ResponseImpl, path: string): Promise<boolean> {
    if (!this.mounts) throw new TypeError("pass: the server has no mounts");
    return this.mounts.pass(response, this.#hostOf(peer), path);
  }

  /** Calls the handler of a request. */
  #handle(peer: Peer, request: RequestImpl, response: ResponseImpl): void {
    const handler = this.#pump.handlerOf(peer);
    const { request: handle } = handler;
    if (!handle) {
      if (this.#isAccepted(peer, request)) this.#accept(peer, response);
      else response.refuse(404, "Not Found\n");
      request.settled();
      return;
    }
    let result: unknown;
    try {
      result = handle.call(handler, request, response);
    } catch (thrown) {
      request.settled();
      this.failRequest(peer, response, thrown);
    }
    if (!isThenable(result)) {
      request.settled();
      return;
    }
    whenSettled(
      result,
      () => {
        request.settled();
        if (!response.sent)
          this.failRequest(peer, response, new Error("the handler settled without an answer"));
      },
      (thrown: unknown) => {
        request.settled();
        this.failRequest(peer, response, thrown);
      },
    );
    // After it, so that a handler that has settled says so first.
    if (response.sent) this.#keep(peer, request);
  }

  /** Accepts an upgrade for a module that does not decide about it. */
  #accept(peer: Peer, response: ResponseImpl): void {
    try {
      response.upgrade();
    } catch (thrown) {
      this.failRequest(peer, response, thrown);
    }
  }

  /** Keeps the bytes of an answered request for its handler, which has not settled. */
  #keep(peer: Peer, request: RequestImpl): void {
    if (peer.link.readsApart && this.#loop.fed === peer) this.#loop.lend(request);
    else request.detach();
  }

  /** Returns true for a request without TLS that must not reach the handler. */
  #lacksTls(peer: Peer, request: RequestImpl): boolean {
    return peer.isMisplaced || (peer.redirects && !peer.isSecure && isRedirected(request));
  }

  /** Redirects a request to the same URL over TLS, where its listener does so, or refuses it. */
  #sendToTls(peer: Peer, response: ResponseImpl): void {
    const { isMisplaced } = peer;
    const port = isMisplaced ? peer.link.localPort : this.redirectPort;
    const canMove = peer.redirects && port !== undefined;
    const location = canMove ? httpsUrl(response.request, port) : undefined;
    if (isMisplaced) response.close();
    if (location !== undefined) response.header("Location", location).send(308);
    else response.refuse(400, isMisplaced ? NEEDS_TLS : "Bad Request\n");
  }

  /** Responds to a request for the metrics. @returns false when it is none */
  #answerMetrics(rules: MetricsRules, peer: Peer, response: ResponseImpl): boolean {
    const { request } = response;
    return answerMetrics(rules, request, peer.peerAddress, response, () => this.#pump.metrics());
  }

  /** Gives a request to its virtual host. @returns the reason why it must not reach a handler; 0: it may */
  #judge(peer: Peer, request: RequestImpl): CloseReason | 0 {
    const number = this.hosts === undefined ? 0 : this.hosts.enter(peer);
    const rules = (peer.isSecure ? this.#secureRules : this.#rules)[number] as OriginRules;
    const { hosts = [] } = rules;
    if (this.hosts !== undefined) {
      const refusal = this.#judgeHost(this.hosts, peer, request, number);
      if (refusal !== 0) return refusal;
    }
    if (hosts.length === 0 && !request.upgrade) return 0;
    const { host } = request;
    if (!isHostAllowed(host, rules))
      return this.#refuseHost(
        request,
        (name) =>
          `hosts: a request for the host ${name} was refused (421); to allow it, add it to hosts`,
      );
    if (!request.upgrade) return 0;
    const allowed = isOriginAllowed(request.header("origin"), host, rules);
    if (!allowed) return this.#refuseOrigin(request, this.hosts?.at(number));
    const protocols = request.header("sec-websocket-protocol");
    return protocols === undefined || isProtocolList(protocols) ? 0 : CloseReason.BadRequest;
  }

  /** Returns the reason why a request must not reach its virtual host, or be redirected there; 0: it may. */
  #judgeHost(hosts: Hosts, peer: Peer, request: RequestImpl, number: number): CloseReason | 0 {
    if (hosts.isElsewhere(peer, number))
      return this.#refuseHost(
        request,
        (name) =>
          `virtualHosts: a request for the host ${name} was refused (421), because its connection was ` +
          "opened for a host that asks for other client certificates",
      );
    // `hosts` is a list of all hosts, and is looked at later.
    const isListed = (this.#rules[0]?.hosts ?? []).length > 0;
    if (!peer.redirects || isListed || !this.#lacksTls(peer, request) || hosts.isNamed(peer))
      return 0;
    return this.#refuseHost(
      request,
      (name) =>
        `redirect: a request for the host ${name} was refused (421); to allow it, add it to virtualHosts or hosts`,
    );
  }

  /** Handles an error of a request's handler: reports it, and sends an error response if that is still possible. */
  failRequest(peer: Peer, response: ResponseImpl, thrown: unknown): void {
    // A body that broke off is not the handler's error, and its request is refused already.
    if (isInstance(thrown, BodyError) && thrown.cause !== "Ok" && response.sent) return;
    if (!response.isNews(thrown) || response.answerFault(thrown)) return;
    this.#pump.fail(thrown, "request");
    this.failAnswer(peer, response);
  }

  /** Refuses a request that is still pending, with 500 for an error. A response that has begun breaks off. */
  failAnswer(peer: Peer, response: ResponseImpl, reason = CloseReason.HandlerError): void {
    if (response.sent || peer.response !== response) return;
    const { request } = response;
    if (this.#log) request.log(this.#log, statusOf(reason), -1);
    request.detach();
    peer.response = undefined;
    this.leaveBody(peer, reason);
    response.lose();
    this.#loop.abandon(peer, reason);
    this.#loop.handleEvents();
    this.#pump.setReading(peer);
  }

  /** Continues the connection of an answered request, now or at the end of the turn. */
  answered(peer: Peer, request: RequestImpl): void {
    peer.response = undefined;
    this.leaveBody(peer, CloseReason.Ok);
    if (this.#loop.fed !== peer) {
      request.detach();
      // mutant http-next: ;
      this.#loop.resumeLater(peer);
    }
  }
}

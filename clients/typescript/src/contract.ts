// Written by scripts/contract.mjs from docs/contract/asyncapi.json: change that, not this.
/**
 * A test of an actor: equal to one name, or to one of several.
 */
export interface ActorTest {
  eq?: string | null;
  in?: string[] | null;
}
/**
 * Add up to 1,000 items at the end of a thread, in one commit: all of them or none.
 *
 * Each is a JSON object with a ``type``, and is kept as it is sent, key for key and digit for digit; one with a
 * ``role`` and no type is a message. An item's ``id`` is the caller's own, or, where it has none, one that Clew makes.
 */
export interface AddItems {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  /**
   * Items: An item: a JSON object with a type and an id, as it was given.
   */
  items: {
    [k: string]: unknown;
  }[];
}
/**
 * Add a message at the end of a thread.
 */
export interface AddMessage {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  message: NewMessage;
}
/**
 * A message to add to a thread.
 *
 * It may be a message as answers show it: what Clew sets by itself is then ignored, and must be what Clew would set
 * it to; ``id`` and ``created_at``, which the new message has of its own, may be any.
 */
export interface NewMessage {
  role: "assistant" | "user";
  content: string | (NewText | NewImageFile | NewImageUrl)[];
  attachments?: NewAttachment[] | null;
  metadata?: {
    [k: string]: string;
  } | null;
  id?: string | null;
  object?: "thread.message";
  created_at?: number | null;
  assistant_id?: null;
  thread_id?: string | null;
  run_id?: null;
  status?: "completed";
  completed_at?: null;
  incomplete_at?: null;
  incomplete_details?: null;
}
/**
 * A text part: its text, or that as answers show it.
 */
export interface NewText {
  type: "text";
  text: string | NewTextValue;
}
/**
 * A text as answers show it.
 */
export interface NewTextValue {
  value: string;
  annotations?: string[];
}
/**
 * An image part, by file id.
 */
export interface NewImageFile {
  type: "image_file";
  image_file: NewImageFileSource;
}
/**
 * An uploaded image, by file id.
 */
export interface NewImageFileSource {
  file_id: string;
  detail?: "auto" | "high" | "low";
}
/**
 * An image part, by URL.
 */
export interface NewImageUrl {
  type: "image_url";
  image_url: NewImageUrlSource;
}
/**
 * An external image, by URL.
 */
export interface NewImageUrlSource {
  url: string;
  detail?: "auto" | "high" | "low";
}
/**
 * A file attached to a message, and the tools that may use it.
 */
export interface NewAttachment {
  file_id: string;
  tools?: NewTool[];
}
/**
 * A tool that may use an attachment.
 */
export interface NewTool {
  type: "code_interpreter" | "file_search";
}
/**
 * A file attached to a message, and the tools that may use it.
 */
export interface Attachment {
  file_id: string;
  tools?: Tool[];
}
/**
 * A tool that may use an attachment.
 */
export interface Tool {
  type: "code_interpreter" | "file_search";
}
/**
 * Chunking that the search chooses.
 */
export interface AutoStrategy {
  type: "auto";
}
/**
 * The commit that last set each part of a thread, as of a point in its history. Deleted messages are included.
 *
 * ``expires_after`` is there only where it was ever set. ``erased`` tells that contents of commits up to that point
 * were erased: what they set is not shown. Of the items the oldest are left out where the query had a limit: so many.
 */
export interface Blame {
  object?: "thread.blame";
  thread_id: string;
  at: Point;
  created: Origin;
  deleted: Origin | null;
  metadata: KeySet[];
  removed: KeyRemoved[];
  tool_resources: ResourceSet[];
  expires_after?: ExpirySet;
  messages: MessageBlame[];
  erased?: boolean;
  left_out?: number;
}
/**
 * A point in a thread's history: after commit ``n``, made at ``at``. Before the first commit, ``n`` is 0.
 */
export interface Point {
  n: number;
  at: string | null;
  position: Position | null;
}
/**
 * A position in the log: the shard, and the sequence in that shard's stream.
 */
export interface Position {
  shard: number;
  seq: number;
}
/**
 * The commit that made something as it is: who, when, by which command, and the reason if one was given.
 *
 * ``id`` is its cursor in the history. ``trace_id`` is that of the command's W3C trace context, or null. A reason that
 * was given may have been erased.
 */
export interface Origin {
  id: string;
  n: number;
  position: Position;
  hash: string;
  at: string;
  actor: string;
  by: string;
  command: string;
  command_id: string;
  reason: string | null;
  trace_id: string | null;
  reason_erased?: boolean;
}
/**
 * A metadata key, and the commit that last set it.
 */
export interface KeySet {
  key: string;
  value: string;
  by: Origin;
}
/**
 * A removed metadata key: its last value, the commit that set that, and the commit that removed it.
 */
export interface KeyRemoved {
  key: string;
  value: string;
  set_by: Origin;
  by: Origin;
}
/**
 * A list of tool resources, such as ``code_interpreter.file_ids``, and the commit that last set it.
 */
export interface ResourceSet {
  resource: string;
  value: string[];
  by: Origin;
}
/**
 * When the thread expires, null if it does not any more, and the commit that last set it.
 */
export interface ExpirySet {
  value: ExpiresAfter | null;
  by: Origin;
}
/**
 * When a thread expires: so many days after it was created, or was last active.
 */
export interface ExpiresAfter {
  anchor: "created_at" | "last_active_at";
  days: number;
}
/**
 * A message or another item, and the commits that added it, last replaced it, last changed it, and deleted it.
 *
 * Null where none did. What an item says, but for single keys of its metadata, is as it was added or last replaced.
 * The metadata of a deleted one is as it was when it was deleted.
 */
export interface MessageBlame {
  id: string;
  added: Origin;
  replaced: Origin | null;
  changed: Origin;
  deleted: Origin | null;
  metadata: KeySet[];
  removed: KeyRemoved[];
}
/**
 * What a signed certificate says: which contents were erased, when, where, and what is known to remain.
 *
 * ``n`` and ``hash`` are those of the commit that requested it. ``first`` and ``last`` are the first and the last
 * commit that lost contents, ``commits`` how many did, ``contents`` how many contents went, and ``seals`` the SHA-256
 * over their seals: one line for each in the order of the log, ended by a line feed. ``done`` says what was done, and
 * ``remains`` what is known to remain and for how long, both for people.
 */
export interface Certificate {
  format?: 1;
  erasure: string;
  tenant: string;
  thread: string;
  items: string[] | null;
  code: string | null;
  n: number;
  hash: string;
  first: number | null;
  last: number | null;
  commits: number;
  contents: number;
  seals: string;
  requested_at: string;
  erased_at: string;
  completed_at: string;
  done: string[];
  remains: string[];
}
/**
 * A page of checkpoints, newest first. The ``number`` of the last is the ``after`` of the next page.
 */
export interface CheckpointPage {
  object?: "list";
  data: SignedCheckpoint[];
  has_more: boolean;
}
/**
 * A checkpoint. ``note`` is the signed text with its signatures, ``keys`` made those, ``hash`` is its SHA-256.
 *
 * The signatures are not verified here; that takes the public key.
 */
export interface SignedCheckpoint {
  number: number;
  object?: "checkpoint";
  created_at: number;
  at: string;
  log: string;
  prev: string | null;
  shards: ShardHeads[];
  reason: string | null;
  hash: string;
  keys: string[];
  note: string;
}
/**
 * A shard of the log up to sequence ``seq`` of its stream.
 *
 * ``root`` is the Merkle root over the heads of its threads, and of tenants' own histories if it has these.
 * ``threads`` is the number of these heads, ``commits`` that of its commits, and ``misfits`` that of the messages that
 * continue no chain.
 */
export interface ShardHeads {
  seq: number;
  threads: number;
  commits: number;
  misfits: number;
  root: string;
}
/**
 * Delete all items of a thread, which stays. Their history stays too.
 */
export interface ClearItems {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
}
/**
 * Files that the code interpreter may use.
 */
export interface CodeInterpreter {
  file_ids?: string[];
}
/**
 * Files that the code interpreter may use.
 */
export interface CodeInterpreterFiles {
  file_ids?: string[];
}
/**
 * The events of one accepted command.
 *
 * ``id`` identifies the command. ``actor`` is whom the caller named, ``by`` what Clew itself knows of the caller.
 * ``n`` numbers a thread's commits from 1. ``at`` is the writer's time in UTC and never decreases within a thread.
 * ``prev`` is null for ``n`` 1. ``reason`` is what the caller gave as one; it is content, so ``reason_erased`` tells
 * one that was erased from none.
 */
export interface Commit {
  v: number;
  id: string;
  tenant: string;
  thread: string;
  n: number;
  at: string;
  actor: string;
  by: string;
  command: string;
  reason?: string | null;
  reason_erased?: boolean;
  prev: string | null;
  events: (
    | ThreadCreated
    | MetadataUpdated
    | ToolResourcesUpdated
    | ExpiryUpdated
    | ItemAdded
    | ItemReplaced
    | ItemMetadataUpdated
    | ItemDeleted
    | ItemsCleared
    | ThreadDeleted
    | ThreadRestored
    | HoldPlaced
    | HoldReleased
    | ErasureRequested
    | ErasureCompleted
    | RetentionSet
    | RetentionRemoved
    | StandingHoldPlaced
    | StandingHoldReleased
    | ErasedThreadEvent
    | ErasedItemEvent
  )[];
}
/**
 * The thread came to be. Always the first event of the first commit. ``forked_from`` only where it is a fork.
 *
 * A fork shows the items that it inherits, and goes on counting after them. Its metadata and tool resources are its
 * own.
 *
 * ``imported`` says where it was before, if it was imported.
 */
export interface ThreadCreated {
  type: "ThreadCreated";
  forked_from?: ForkedFrom;
  metadata?: {
    [k: string]: string;
  };
  tool_resources?: ToolResources;
  imported?: Provenance;
}
/**
 * The commit of another thread that a thread was forked at, and what the fork inherits from there.
 *
 * The commit is named by its thread, its number, and the hash of its record; ``seq`` is the sequence where it stood in
 * its shard, a hint. Items are inherited up to ``ordinal``: ``items`` of them exist, and none up to ``cleared``.
 */
export interface ForkedFrom {
  thread: string;
  n: number;
  hash: string;
  seq: number;
  ordinal: number;
  items: number;
  cleared: number;
}
/**
 * What a thread's tools may use.
 */
export interface ToolResources {
  code_interpreter?: CodeInterpreter | null;
  file_search?: FileSearch | null;
}
/**
 * Vector stores that file search may use; ``vector_stores`` are those that were created with the thread.
 */
export interface FileSearch {
  vector_store_ids?: string[];
  vector_stores?: VectorStore[];
}
/**
 * A vector store that was requested with a thread: stored in its history, under an id of its own.
 */
export interface VectorStore {
  id: string;
  file_ids?: string[];
  chunking_strategy?: (AutoStrategy | StaticStrategy) | null;
  metadata?: {
    [k: string]: string;
  } | null;
}
/**
 * Chunking that the caller chooses.
 */
export interface StaticStrategy {
  type: "static";
  static: StaticChunking;
}
/**
 * The size and overlap of a file's chunks for search, in tokens.
 */
export interface StaticChunking {
  max_chunk_size_tokens: number;
  chunk_overlap_tokens: number;
}
/**
 * Where a thread was before it was imported.
 *
 * ``source`` is the kind of the source, ``id`` the thread's id there, ``file`` the SHA-256 of the file that it came
 * in, and ``created_at`` when it was created there, if that is known.
 */
export interface Provenance {
  source: string;
  id: string;
  file: string;
  created_at?: string | null;
}
/**
 * The difference: keys that took a new value, and keys that went. A key left alone is not named.
 */
export interface MetadataUpdated {
  type: "MetadataUpdated";
  set: {
    [k: string]: string;
  };
  unset: string[];
}
/**
 * What the tools may use from now on, whole.
 */
export interface ToolResourcesUpdated {
  type: "ToolResourcesUpdated";
  tool_resources: ToolResources1;
}
/**
 * What a thread's tools may use.
 */
export interface ToolResources1 {
  code_interpreter?: CodeInterpreter | null;
  file_search?: FileSearch | null;
}
/**
 * When the thread expires from now on; with null it does not.
 */
export interface ExpiryUpdated {
  type: "ExpiryUpdated";
  expires_after: ExpiresAfter | null;
}
/**
 * An item was put at the end of the thread, under the next ordinal.
 *
 * ``created_at`` is when it came to be, where that was before, as of an item that was imported.
 */
export interface ItemAdded {
  type: "ItemAdded";
  item: string;
  ordinal: number;
  message?: RecordedMessage;
  body?: {
    [k: string]: unknown;
  };
  created_at?: string;
}
/**
 * A message as stored: its id and ordinal are in its event, its thread and time in the commit.
 */
export interface RecordedMessage {
  role: "assistant" | "user";
  content: (Text | ImageFile | ImageUrl)[];
  attachments?: Attachment[];
  metadata: {
    [k: string]: string;
  };
}
/**
 * A text part of a message.
 */
export interface Text {
  type: "text";
  text: string;
}
/**
 * An image part of a message, by file id.
 */
export interface ImageFile {
  type: "image_file";
  image_file: ImageFileSource;
}
/**
 * An uploaded image, by file id.
 */
export interface ImageFileSource {
  file_id: string;
  detail?: "auto" | "high" | "low";
}
/**
 * An image part of a message, by URL.
 */
export interface ImageUrl {
  type: "image_url";
  image_url: ImageUrlSource;
}
/**
 * An external image, by URL.
 */
export interface ImageUrlSource {
  url: string;
  detail?: "auto" | "high" | "low";
}
/**
 * An item has another content from now on, metadata included; it keeps its id and its ordinal.
 */
export interface ItemReplaced {
  type: "ItemReplaced";
  item: string;
  ordinal?: number;
  message?: RecordedMessage1;
  body?: {
    [k: string]: unknown;
  };
}
/**
 * A message as stored: its id and ordinal are in its event, its thread and time in the commit.
 */
export interface RecordedMessage1 {
  role: "assistant" | "user";
  content: (Text | ImageFile | ImageUrl)[];
  attachments?: Attachment[];
  metadata: {
    [k: string]: string;
  };
}
/**
 * The difference in one item's metadata.
 */
export interface ItemMetadataUpdated {
  type: "ItemMetadataUpdated";
  item: string;
  ordinal?: number;
  set?: {
    [k: string]: string;
  };
  unset?: string[];
}
/**
 * An item was deleted from the thread. Its ordinal is never used again.
 */
export interface ItemDeleted {
  type: "ItemDeleted";
  item: string;
  ordinal?: number;
}
/**
 * All items of the thread were deleted. The thread stays, and no ordinal is used again.
 */
export interface ItemsCleared {
  type: "ItemsCleared";
}
/**
 * The thread is gone for its users. The history remains, and the thread can be restored until it is erased.
 */
export interface ThreadDeleted {
  type: "ThreadDeleted";
}
/**
 * A deleted thread is there again, as it was.
 */
export interface ThreadRestored {
  type: "ThreadRestored";
}
/**
 * A legal hold of this name forbids that the thread is erased or expires.
 */
export interface HoldPlaced {
  type: "HoldPlaced";
  hold: string;
}
/**
 * The legal hold of this name is over.
 */
export interface HoldReleased {
  type: "HoldReleased";
  hold: string;
}
/**
 * The contents of earlier commits are to be erased, and are refused from now on.
 *
 * ``items`` are the items that it is about; with null it is the whole thread, which has ended for good. ``ordinals``
 * are those of all that had their ids, where an id does not carry it or was used more than once. ``code`` is why, as a
 * code.
 */
export interface ErasureRequested {
  type: "ErasureRequested";
  erasure: string;
  items: string[] | null;
  code: string | null;
  ordinals?: number[];
}
/**
 * The contents are gone from every disk. ``certificate`` is the SHA-256 of the signed certificate, in hex.
 */
export interface ErasureCompleted {
  type: "ErasureCompleted";
  erasure: string;
  certificate: string;
}
/**
 * From now on the policy of this name says what becomes of threads that are ``after_days`` old.
 *
 * ``since`` is from when the days count. ``erase_after_days`` is in how many days more a deleted thread is erased,
 * where ``then`` is ``delete``; null: never. ``where`` is which threads it is for, a condition of lists in JSON; null:
 * all.
 */
export interface RetentionSet {
  type: "RetentionSet";
  name: string;
  after_days: number;
  since: "changed" | "created" | "original";
  then: "delete" | "erase";
  erase_after_days: number | null;
  where: string | null;
}
/**
 * The policy of this name is over. What it has deleted or erased stays so.
 */
export interface RetentionRemoved {
  type: "RetentionRemoved";
  name: string;
}
/**
 * A legal hold of this name is on all threads that match ``where``, a condition of lists in JSON, now and later.
 */
export interface StandingHoldPlaced {
  type: "StandingHoldPlaced";
  hold: string;
  where: string;
}
/**
 * The standing legal hold of this name is over.
 */
export interface StandingHoldReleased {
  type: "StandingHoldReleased";
  hold: string;
}
/**
 * What is left of an event about a thread after its content was erased: ``of`` is what type of event it was.
 */
export interface ErasedThreadEvent {
  type: "ErasedThreadEvent";
  of:
    | "ErasureCompleted"
    | "ErasureRequested"
    | "ExpiryUpdated"
    | "HoldPlaced"
    | "HoldReleased"
    | "ItemAdded"
    | "ItemDeleted"
    | "ItemMetadataUpdated"
    | "ItemReplaced"
    | "ItemsCleared"
    | "MetadataUpdated"
    | "RetentionRemoved"
    | "RetentionSet"
    | "StandingHoldPlaced"
    | "StandingHoldReleased"
    | "ThreadCreated"
    | "ThreadDeleted"
    | "ThreadRestored"
    | "ToolResourcesUpdated";
  seal: string;
  forked_from?: ForkedFrom;
}
/**
 * What is left of an event about an item after its content was erased; ``ordinal`` as in the event that it was.
 */
export interface ErasedItemEvent {
  type: "ErasedItemEvent";
  of:
    | "ErasureCompleted"
    | "ErasureRequested"
    | "ExpiryUpdated"
    | "HoldPlaced"
    | "HoldReleased"
    | "ItemAdded"
    | "ItemDeleted"
    | "ItemMetadataUpdated"
    | "ItemReplaced"
    | "ItemsCleared"
    | "MetadataUpdated"
    | "RetentionRemoved"
    | "RetentionSet"
    | "StandingHoldPlaced"
    | "StandingHoldReleased"
    | "ThreadCreated"
    | "ThreadDeleted"
    | "ThreadRestored"
    | "ToolResourcesUpdated";
  item: string;
  ordinal?: number | null;
  seal: string;
}
/**
 * A filter of threads; all fields that are given must hold. At most 64 conditions, nested at most 8 deep.
 *
 * ``recorded`` and ``updated`` are the times of the first and the latest commit, ``created_by`` and ``updated_by`` are
 * their actors. ``created`` is ``recorded`` or, of a thread that was imported, when its original was created.
 * ``messages`` is the number of items of all types, and ``hold`` a legal hold. ``expires_at`` is when the thread
 * expires: no bound holds for one that does not. ``forked_from`` is the thread that a fork was forked from.
 */
export interface Condition {
  and?: Condition[] | null;
  or?: Condition[] | null;
  not?: Condition | null;
  metadata?: MetadataTest | null;
  created?: TimeTest | null;
  recorded?: TimeTest | null;
  updated?: TimeTest | null;
  messages?: NumberTest | null;
  created_by?: ActorTest | null;
  updated_by?: ActorTest | null;
  id?: IdTest | null;
  hold?: HoldTest | null;
  expires_at?: TimeTest | null;
  forked_from?: ForkTest | null;
}
/**
 * A test of the metadata value under ``key``, or without ``key`` of any metadata value.
 *
 * Of ``eq``, ``in``, ``prefix``, ``gt``, ``gte``, ``lt`` and ``lte``, all that are given must hold for one existing
 * value. ``ne`` and ``exists: false`` require that no such value exists, so they also hold if the key is missing. A
 * string as a bound compares as text, by code points. A number as a bound compares as a number, and only with values
 * that are JSON numbers.
 */
export interface MetadataTest {
  key?: string | null;
  eq?: string | null;
  ne?: string | null;
  in?: string[] | null;
  prefix?: string | null;
  exists?: boolean | null;
  gt?: number | string | null;
  gte?: number | string | null;
  lt?: number | string | null;
  lte?: number | string | null;
}
/**
 * Bounds of a time: in ISO 8601 with its offset, exact to the microsecond, or in Unix seconds.
 */
export interface TimeTest {
  gt?: string | number | null;
  gte?: string | number | null;
  lt?: string | number | null;
  lte?: string | number | null;
}
/**
 * Bounds of a count.
 */
export interface NumberTest {
  eq?: number | null;
  gt?: number | null;
  gte?: number | null;
  lt?: number | null;
  lte?: number | null;
}
/**
 * A test of a thread's id: it begins with ``prefix``.
 */
export interface IdTest {
  prefix: string;
}
/**
 * A test of a thread's legal holds: it has the one named ``eq``; ``exists``: it has any, or with false none.
 */
export interface HoldTest {
  eq?: string | null;
  exists?: boolean | null;
}
/**
 * A test of what a thread was forked from: the thread ``eq``; ``exists``: any, or with false none.
 */
export interface ForkTest {
  eq?: string | null;
  exists?: boolean | null;
}
/**
 * The number of matching threads; if not ``exact``, there are at least as many.
 */
export interface Count {
  threads: number;
  exact: boolean;
}
/**
 * Create a thread, with up to 100 messages, or up to 1,000 items, in one commit.
 *
 * Without ``thread_id``, the thread's id is derived from tenant and command id, so a repeat always finds the thread.
 * With one that begins with ``conv_`` it is a conversation, as it is where that is the ``kind`` of the id to derive.
 * Items are as in :class:`AddItems`.
 */
export interface CreateThread {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  thread_id?: string | null;
  kind?: "conversation" | "thread";
  messages?: NewMessage[] | null;
  items?:
    | {
        [k: string]: unknown;
      }[]
    | null;
  metadata?: {
    [k: string]: string;
  } | null;
  tool_resources?: NewToolResources | null;
  expires_after?: ExpiresAfterIn | null;
}
/**
 * What a new thread's tools may use.
 */
export interface NewToolResources {
  code_interpreter?: FilesForCode | null;
  file_search?: NewStoresForSearch | null;
}
/**
 * At most 20 files for the code interpreter.
 */
export interface FilesForCode {
  file_ids?: string[];
}
/**
 * At most one vector store for file search: an existing one, or one to create, not both.
 */
export interface NewStoresForSearch {
  vector_store_ids?: string[];
  vector_stores?: NewVectorStore[];
}
/**
 * A vector store to create with the thread. It is stored under an id; Clew does not search it.
 */
export interface NewVectorStore {
  file_ids?: string[];
  chunking_strategy?: (NewAutoStrategy | NewStaticStrategy) | null;
  metadata?: {
    [k: string]: string;
  } | null;
}
/**
 * Chunking that the search chooses.
 */
export interface NewAutoStrategy {
  type: "auto";
}
/**
 * Chunking that the caller chooses.
 */
export interface NewStaticStrategy {
  type: "static";
  static: NewStaticChunking;
}
/**
 * The size and overlap of a file's chunks for search, in tokens. The overlap is at most half of the size.
 */
export interface NewStaticChunking {
  max_chunk_size_tokens: number;
  chunk_overlap_tokens: number;
}
/**
 * When a thread expires: so many days, 1 to 36,500, after it was created, or was last active.
 */
export interface ExpiresAfterIn {
  anchor: "created_at" | "last_active_at";
  days: number;
}
/**
 * Delete an item from a thread. Its history stays, and its id may be used again.
 */
export interface DeleteItem {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  /**
   * 1 to 64 letters, digits and '_', '-', '.' or ':', not dots alone
   */
  item_id: string;
}
/**
 * Delete a message from a thread. Its history stays.
 */
export interface DeleteMessage {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  /**
   * 'msg_' and 24 letters and digits
   */
  message_id: string;
}
/**
 * Delete a thread. Its id is never used again; its history stays, and it can be restored until it is erased.
 */
export interface DeleteThread {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
}
/**
 * The differences between two points of a thread's history, and the commits in between, oldest first.
 *
 * ``messages`` has the items that the Threads API can show, and ``items`` all others. ``expires_after`` is there only
 * where it differs. ``erased`` tells that contents of commits up to the later point were erased: what they changed is
 * not shown. Of the changed items and the commits the oldest are left out where the query had a limit: so many.
 */
export interface Difference {
  object?: "thread.difference";
  thread_id: string;
  from: Point;
  to: Point;
  status: StatusChange;
  metadata: KeyChange[];
  tool_resources: ResourceChange[];
  expires_after?: ExpiryChange;
  messages: MessageChange[];
  items?: ItemChange[];
  commits: Origin[];
  erased?: boolean;
  changes_left_out?: number;
  commits_left_out?: number;
}
/**
 * The thread's status before and after.
 */
export interface StatusChange {
  before: "absent" | "deleted" | "erased" | "open";
  after: "absent" | "deleted" | "erased" | "open";
}
/**
 * A metadata key with its value before and after, null where it did not exist.
 */
export interface KeyChange {
  key: string;
  before: string | null;
  after: string | null;
}
/**
 * A list of tool resources, such as ``code_interpreter.file_ids``, before and after.
 */
export interface ResourceChange {
  resource: string;
  before: string[];
  after: string[];
}
/**
 * When the thread expires, before and after, null where it does not.
 */
export interface ExpiryChange {
  before: ExpiresAfter | null;
  after: ExpiresAfter | null;
}
/**
 * A message before and after, null where it did not exist; ``metadata`` lists the keys that differ.
 *
 * A message that was added and deleted in between is listed, and null at both points.
 */
export interface MessageChange {
  id: string;
  change: "added" | "added_and_deleted" | "changed" | "deleted";
  before: Message | null;
  after: Message | null;
  metadata: KeyChange[];
}
/**
 * A message. ``created_at`` is in Unix seconds, and the same for all messages of one commit.
 *
 * ``erased`` is there, and true, only in answers about the past, where the message's contents were erased since. What
 * it said is then not known, nor its role, which is given as ``user``.
 */
export interface Message {
  id: string;
  object?: "thread.message";
  created_at: number;
  assistant_id?: string | null;
  thread_id: string;
  run_id?: string | null;
  role: "assistant" | "user";
  content: (TextPart | ImageFile | ImageUrl)[];
  attachments?: Attachment[];
  metadata: {
    [k: string]: string;
  };
  status?: "completed" | "in_progress" | "incomplete";
  completed_at?: number | null;
  incomplete_at?: number | null;
  incomplete_details?: null;
  erased?: boolean;
}
/**
 * A text part of a message.
 */
export interface TextPart {
  type: "text";
  text: TextValue;
}
/**
 * A text and its annotations. A message that a caller creates has none.
 */
export interface TextValue {
  value: string;
  annotations?: string[];
}
/**
 * An item before and after, omitted where it was not there: one that the Threads API cannot show.
 *
 * So is a message of which it shows nothing that differs.
 */
export interface ItemChange {
  id: string;
  change: "added" | "added_and_deleted" | "changed" | "deleted";
  /**
   * An item: a JSON object with a type and an id, as it was given.
   */
  before?: {
    [k: string]: unknown;
  };
  /**
   * An item: a JSON object with a type and an id, as it was given.
   */
  after?: {
    [k: string]: unknown;
  };
}
/**
 * The result of a command, executed now or before: the position of its commit, and what it concerned.
 *
 * ``popped`` is the item that ``PopItem`` took away; it is omitted if there was none.
 *
 * A command that changes nothing makes no commit; ``position`` and ``n`` are then those of the thread's last commit.
 */
export interface Done {
  position: Position;
  n: number;
  thread?: ThreadReceipt | null;
  message?: MessageReceipt | null;
  deleted?: Gone | null;
  erasure?: Erasure | null;
  held?: HeldThread | null;
  retention?: RetentionEffect | null;
  standing?: FilterHold | null;
  items?: ItemsReceipt | null;
  /**
   * An item: a JSON object with a type and an id, as it was given.
   */
  popped?: {
    [k: string]: unknown;
  };
}
/**
 * The result of a change to a thread, for callers that are not always permitted to read it.
 *
 * ``version`` is the thread's ``n`` after the change. ``metadata`` holds what the change itself set, and is omitted if
 * it set none.
 */
export interface ThreadReceipt {
  id: string;
  object?: "thread";
  created_at: number;
  version: number;
  metadata?: {
    [k: string]: string;
  };
}
/**
 * The result of a change to a message, for callers that are not always permitted to read it.
 *
 * ``version`` is the ``n`` of the message's thread after the change. ``content`` and ``metadata`` hold what the change
 * itself set, and are omitted if it set none.
 */
export interface MessageReceipt {
  id: string;
  object?: "thread.message";
  created_at: number;
  version: number;
  content?: (TextPart | ImageFile | ImageUrl)[];
  metadata?: {
    [k: string]: string;
  };
}
/**
 * The answer to the deletion of a thread, a message or another item, a policy of retention, or a standing hold.
 *
 * The ``id`` of the last two is their name.
 */
export interface Gone {
  id: string;
  object: "hold.deleted" | "retention.deleted" | "thread.deleted" | "thread.item.deleted" | "thread.message.deleted";
  deleted?: boolean;
}
/**
 * An erasure of a thread, or of the message ``message_id`` of it.
 *
 * ``code`` is why, as the caller said. ``n`` and ``position`` are those of the commit that requests it, and null until
 * that is known to be in the log. ``commits`` counts the commits that have lost contents so far. ``fault`` is why it
 * failed, or what it waits for. ``left`` is what could not be overwritten: the certificate will say so.
 * ``certificate`` is the SHA-256 of the signed certificate, in hex.
 */
export interface Erasure {
  id: string;
  object?: "erasure";
  status: "completed" | "erased" | "failed" | "requested";
  thread_id: string;
  message_id?: string | null;
  code?: string | null;
  actor: string;
  by: string;
  n?: number | null;
  position?: Position | null;
  commits?: number;
  requested_at: string;
  erased_at?: string | null;
  completed_at?: string | null;
  fault?: string | null;
  left?: string[];
  certificate?: string | null;
}
/**
 * The legal holds that a thread has, in the order in which they were placed. ``id`` is the thread's.
 */
export interface HeldThread {
  id: string;
  object?: "thread.holds";
  holds: string[];
  deleted: boolean;
}
/**
 * A policy as it was set, and what it is about now, by the index; null where no index can be asked.
 *
 * ``threads`` is how many threads match, and ``due`` how many of them are old enough. ``held_by`` are legal holds on
 * some that match, up to 100: threads that are held are left out until they are released.
 */
export interface RetentionEffect {
  name: string;
  object?: "retention";
  after_days: number;
  since: "changed" | "created" | "original";
  where: Condition | null;
  then: "delete" | "erase";
  erase_after_days: number | null;
  threads: Count | null;
  due: Count | null;
  held_by: string[] | null;
}
/**
 * A standing legal hold, on all threads that match ``where``, now and later. ``id`` is its name.
 */
export interface FilterHold {
  id: string;
  object?: "hold";
  where: Condition;
}
/**
 * The result of a change to items of a thread: the ids of those that it put there, in their order.
 *
 * ``version`` is the thread's ``n`` after the change, and ``id`` is the thread's.
 */
export interface ItemsReceipt {
  id: string;
  object?: "thread.items";
  version: number;
  ids: string[];
}
/**
 * A page of threads that are due, by rules. While it ``has_more``, ``next`` is the ``after`` of the next page.
 */
export interface DuePage {
  object?: "list";
  data: DueThread[];
  first_id: string | null;
  last_id: string | null;
  has_more: boolean;
  next: string | null;
}
/**
 * A thread that is due to be deleted or erased since ``due_at``, in Unix seconds.
 *
 * ``policy`` is the name of the policy by which it is, and null if it is by its own ``expires_after``. ``deleted`` if
 * nobody is shown it any more. ``holds`` are the names of the legal holds that keep it.
 */
export interface DueThread {
  id: string;
  object?: "thread.due";
  action: "delete" | "erase";
  due_at: number;
  policy: string | null;
  deleted: boolean;
  holds: string[];
}
/**
 * A commit of a history, with its position in the log and the hash of its record.
 *
 * ``id`` is a cursor for ``after`` and ``before``. ``trace_id`` is that of the command's W3C trace context, or null.
 * ``stored`` is the stored body, byte for byte, where it was asked for: the record on its first line.
 */
export interface Entry {
  id: string;
  position: Position;
  hash: string;
  trace_id?: string | null;
  commit: Commit;
  stored?: string | null;
}
/**
 * Erase an item of any type, deleted or not, with everything that it ever was. The thread lives on.
 *
 * ``reason`` is a code, and ``forks`` allows forks to lose it, as with :class:`EraseThread`.
 */
export interface EraseItem {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  /**
   * 1 to 64 letters, digits and '_', '-', '.' or ':', not dots alone
   */
  item_id: string;
  forks?: boolean;
}
/**
 * Erase a message, deleted or not, with everything that it ever was. The thread lives on.
 *
 * ``reason`` is a code, and ``forks`` allows forks to lose it, as with :class:`EraseThread`.
 */
export interface EraseMessage {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  /**
   * 'msg_' and 24 letters and digits
   */
  message_id: string;
  forks?: boolean;
}
/**
 * Erase a thread, deleted or not: what people wrote in it goes from every disk, and its id is never used again.
 *
 * ``reason`` is a code, as it is kept for ever: at most 64 letters, digits and ``_.:-``. Where forks show what would
 * go, it goes there too: that takes ``forks``.
 */
export interface EraseThread {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  forks?: boolean;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
}
/**
 * A page of erasures, newest first. While it ``has_more``, ``last_id`` is the ``after`` of the next page.
 */
export interface ErasurePage {
  object?: "list";
  data: Erasure[];
  first_id: string | null;
  last_id: string | null;
  has_more: boolean;
}
/**
 * A match of a search: the message, and the part of its text around the words.
 *
 * Of another item, ``message_id`` is its id, and ``role`` its type where it has no role. ``forks`` are threads, up to
 * 20, that were forked from this one, or from its forks, when it had the message: unless they changed it, they show
 * it, and a search does not find it there. It is left out where there are none.
 */
export interface Excerpt {
  message_id: string;
  role: string;
  pieces: Piece[];
  forks?: string[];
}
/**
 * A piece of text. ``match`` is true if the search matched it.
 */
export interface Piece {
  text: string;
  match?: boolean;
}
/**
 * The most frequent values of a metadata key, or of ``created_by`` or ``updated_by``. ``more``: there are others.
 *
 * If not ``exact``, the numbers are those of 10,000 of the matching threads.
 */
export interface Facet {
  key: string;
  values: FacetValue[];
  more: boolean;
  exact: boolean;
}
/**
 * A value of a metadata key, and the number of threads that have it.
 */
export interface FacetValue {
  value: string;
  threads: number;
}
/**
 * An error in a reply.
 *
 * ``type`` is the class of error, ``code`` the precise reason, and ``retry`` what to do: ``no`` retry, ``reload`` the
 * thread and decide again, or send the same ``later``.
 */
export interface Fault {
  type: "conflict" | "corrupt" | "rejected" | "unavailable";
  code: string;
  message: string;
  param?: string | null;
  retry?: "later" | "no" | "reload";
}
/**
 * A page of the feed. ``next`` is the cursor of the next page, also if that is still empty.
 */
export interface Feed {
  object?: "list";
  data: FeedEntry[];
  first_id: string | null;
  last_id: string | null;
  has_more: boolean;
  next: string;
}
/**
 * A commit in the feed. ``id`` is the cursor after it; ``stored_at`` is when the log stored it, in feed order.
 *
 * If the stored body cannot be decoded, ``commit`` is null, ``body`` holds it in base64, and ``fault`` is the error.
 */
export interface FeedEntry {
  id: string;
  object?: "thread.commit";
  stored_at: string;
  position: Position;
  hash: string;
  trace_id?: string | null;
  commit?: Commit | null;
  fault?: Fault | null;
  body?: string | null;
}
/**
 * How a thread begins: the first of its own messages, or other items, that has text, and the first 200 characters.
 *
 * Of another item, ``message_id`` is its id, and ``role`` its type where it has no role. A fork begins with what was
 * said in it.
 */
export interface FirstText {
  message_id: string;
  role: string;
  text: string;
}
/**
 * Create a thread that begins as the past of another, its ``parent``, and copies none of its items.
 *
 * ``at`` is a version of the parent, or an item, after which nothing is inherited; without it the fork begins with all
 * that the parent has now. Metadata is the parent's then, unless it is given; null or {} gives none. The fork
 * shows the parent as it was then, whatever becomes of it, but what is erased there. Without ``thread_id``, the
 * fork's id is derived as that of a thread that is created; it is a conversation if the parent is one.
 */
export interface ForkThread {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  thread_id?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  parent: string;
  at?: number | string | null;
  metadata?: {
    [k: string]: string;
  } | null;
}
/**
 * A present state: after the thread's commit ``n``.
 *
 * ``inherits`` is said of a page of a fork that began with items of its parent: those may be erased there, so that a
 * later page is another at the same ``n``.
 */
export interface Found {
  position: Position;
  n: number;
  inherits?: boolean;
  thread?: Thread | null;
  message?: Message | null;
  messages?: MessagePage | null;
  /**
   * An item: a JSON object with a type and an id, as it was given.
   */
  item?: {
    [k: string]: unknown;
  };
  items?: ItemPage | null;
}
/**
 * A thread. ``created_at`` is in Unix seconds.
 *
 * ``expires_after`` is there only where it is set, and with it ``expires_at``, in Unix seconds: the time from which on
 * retention removes the thread, unless a legal hold forbids it.
 * ``erased`` is there, and true, only in answers about the past, where contents about the thread itself were erased
 * since: its metadata and tools of then are not known. ``forked_from`` is there only where it is a fork.
 */
export interface Thread {
  id: string;
  object?: "thread";
  created_at: number;
  metadata: {
    [k: string]: string;
  };
  tool_resources: Resources;
  expires_after?: ExpiresAfter;
  expires_at?: number;
  erased?: boolean;
  forked_from?: ForkedFrom;
}
/**
 * What a thread's tools may use. Tools without resources are omitted.
 */
export interface Resources {
  code_interpreter?: CodeInterpreterFiles | null;
  file_search?: SearchStores | null;
}
/**
 * Vector stores that file search may use.
 */
export interface SearchStores {
  vector_store_ids?: string[];
}
/**
 * A page of messages. ``first_id`` and ``last_id`` are null if it is empty.
 */
export interface MessagePage {
  object?: "list";
  data: Message[];
  first_id: string | null;
  last_id: string | null;
  has_more: boolean;
}
/**
 * A page of items. ``first_id`` and ``last_id`` are null if it is empty.
 */
export interface ItemPage {
  object?: "list";
  /**
   * Items: An item: a JSON object with a type and an id, as it was given.
   */
  data: {
    [k: string]: unknown;
  }[];
  first_id: string | null;
  last_id: string | null;
  has_more: boolean;
}
/**
 * How current the index is: its ``position``, in the form of ``at_least``, and the newest commit's time.
 */
export interface Freshness {
  position: string;
  at: string | null;
}
/**
 * Who last set each part of a thread, now or ``as_of`` a commit or time; of its items the newest ``limit``.
 */
export interface GetBlame {
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  as_of?: number | string | null;
  limit?: number | null;
}
/**
 * A signed checkpoint by its number, or the latest.
 */
export interface GetCheckpoint {
  number?: number | null;
}
/**
 * What changed in a thread after ``from`` (0, the default: before its first commit) up to ``to`` (default: now).
 *
 * With a ``limit``, only so many of the changed items and of the commits are in the answer, the newest.
 */
export interface GetDifference {
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  from?: number | string;
  to?: number | string | null;
  limit?: number | null;
}
/**
 * An erasure as it is now, with its certificate if it is completed.
 */
export interface GetErasure {
  /**
   * 'erasure_' and 24 letters and digits
   */
  erasure_id: string;
}
/**
 * A page of the commits of all of a tenant's threads, in the order of the log; with ``desc`` newest first.
 *
 * ``after`` is a cursor: the ``id`` of an entry or the ``next`` of a page, which never expire; or ``latest``, the end
 * of the feed. ``types``, ``actor`` and ``by`` are as in the history of a thread. ``since`` and ``until`` are
 * inclusive, and compare with the time at which the log stored a commit.
 */
export interface GetFeed {
  after?: string | null;
  limit?: number;
  order?: "asc" | "desc";
  types?: (
    | "ErasureCompleted"
    | "ErasureRequested"
    | "ExpiryUpdated"
    | "HoldPlaced"
    | "HoldReleased"
    | "ItemAdded"
    | "ItemDeleted"
    | "ItemMetadataUpdated"
    | "ItemReplaced"
    | "ItemsCleared"
    | "MetadataUpdated"
    | "RetentionRemoved"
    | "RetentionSet"
    | "StandingHoldPlaced"
    | "StandingHoldReleased"
    | "ThreadCreated"
    | "ThreadDeleted"
    | "ThreadRestored"
    | "ToolResourcesUpdated"
  )[];
  actor?: string | null;
  by?: string | null;
  thread_id?: string | null;
  since?: number | string | null;
  until?: number | string | null;
}
/**
 * A page of at most ``limit`` commits of a thread, or without one of the tenant's own; by default oldest first.
 *
 * ``after`` and ``before`` are cursors (ids of entries), in the order of the page; the number of a commit also works,
 * more slowly. With ``before`` alone it is the page right before that commit. ``start``, in place of ``after``, is the
 * number of the first commit. ``types`` selects commits with at least one of these events. ``actor`` selects by who
 * was named, ``by`` by who was authenticated; with ``*`` at its end, by prefix. ``since`` and ``until`` are inclusive:
 * times with their offset, or whole Unix seconds. ``stored`` asks for each commit's stored body too.
 */
export interface GetHistory {
  thread_id?: string | null;
  start?: number | null;
  limit?: number;
  order?: "asc" | "desc";
  after?: string | null;
  before?: string | null;
  types?: (
    | "ErasureCompleted"
    | "ErasureRequested"
    | "ExpiryUpdated"
    | "HoldPlaced"
    | "HoldReleased"
    | "ItemAdded"
    | "ItemDeleted"
    | "ItemMetadataUpdated"
    | "ItemReplaced"
    | "ItemsCleared"
    | "MetadataUpdated"
    | "RetentionRemoved"
    | "RetentionSet"
    | "StandingHoldPlaced"
    | "StandingHoldReleased"
    | "ThreadCreated"
    | "ThreadDeleted"
    | "ThreadRestored"
    | "ToolResourcesUpdated"
  )[];
  actor?: string | null;
  by?: string | null;
  since?: number | string | null;
  until?: number | string | null;
  stored?: boolean;
}
/**
 * One item as it is now.
 */
export interface GetItem {
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  /**
   * 1 to 64 letters, digits and '_', '-', '.' or ':', not dots alone
   */
  item_id: string;
  consistency?: "eventual" | "strong";
  at_least?: number | null;
}
/**
 * One item as it was ``as_of`` a commit or time.
 */
export interface GetItemAt {
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  /**
   * 1 to 64 letters, digits and '_', '-', '.' or ':', not dots alone
   */
  item_id: string;
  as_of: number | string;
}
/**
 * One message as it is now.
 */
export interface GetMessage {
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  /**
   * 'msg_' and 24 letters and digits
   */
  message_id: string;
  consistency?: "eventual" | "strong";
  at_least?: number | null;
}
/**
 * One message as it was ``as_of`` a commit or time.
 */
export interface GetMessageAt {
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  /**
   * 'msg_' and 24 letters and digits
   */
  message_id: string;
  as_of: number | string;
}
/**
 * The inclusion proof of a thread's head under the latest signed checkpoint; without one, of the tenant's own.
 */
export interface GetProof {
  thread_id?: string | null;
}
/**
 * A thread as it was after commit ``n``, at ``time``, or ``as_of`` either: exactly one of the three.
 *
 * ``as_of`` is a commit's number, a time or Unix seconds; unlike ``time``, it may not be in the future.
 */
export interface GetStateAt {
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  n?: number | null;
  time?: string | null;
  as_of?: number | string | null;
}
/**
 * A thread as it is now.
 *
 * ``strong`` (the default) is never behind the log; ``eventual`` may be, by as much as the projector is and 5 seconds.
 * ``at_least`` waits for a state that includes the thread's commit of that number, whatever the consistency.
 */
export interface GetThread {
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  consistency?: "eventual" | "strong";
  at_least?: number | null;
}
/**
 * An inclusion proof: a signed checkpoint, a thread's head, and the Merkle path from it to its shard's root.
 *
 * ``path`` begins at the leaf. The guide to proofs specifies the hashes.
 */
export interface HeadProof {
  checkpoint: string;
  tenant: string;
  thread: string;
  n: number;
  hash: string;
  path: string[];
}
/**
 * A page of a thread's commits, in the order of the query.
 *
 * ``missing`` lists commits that belong on this page and are missing from the log, which is then damaged. ``next`` is
 * the ``start`` of the next page and ``cursor`` its ``after``, which is faster; both are null on the last page.
 * ``previous`` is the ``before`` of the previous page, and null on the first. With a filter, a page may have fewer
 * commits than the limit, or none, and not be the last.
 */
export interface History {
  commits: Entry[];
  missing?: MissingCommits[];
  next?: number | null;
  cursor?: string | null;
  previous?: string | null;
}
/**
 * Commits of a thread that are missing from the log, from number ``first`` to number ``last``.
 */
export interface MissingCommits {
  first: number;
  last: number;
}
/**
 * A page of the threads that have legal holds, by id. While it ``has_more``, ``last_id`` is the next ``after``.
 *
 * ``standing`` are the standing holds, by their names, on the first page alone; of one thread those that cover it.
 */
export interface HoldPage {
  object?: "list";
  data: HeldThread[];
  standing?: FilterHold[];
  first_id: string | null;
  last_id: string | null;
  has_more: boolean;
  fresh: Freshness;
}
/**
 * The inclusion proof of a thread's head, in the form in which it is kept. Verifying it takes the public key.
 *
 * ``earlier`` is a proof of the same thread under an earlier checkpoint; ``commits`` are then the stored bodies of the
 * commits after its head, up to the later head, and ``certificates`` are those of the thread's erasures.
 */
export interface KeptProof {
  clew?: "proof";
  v?: number;
  head: HeadProof;
  earlier?: HeadProof | null;
  commits?: string[];
  certificates?: string[];
}
/**
 * A page of the log's signed checkpoints, newest first, from the newest or ``after`` the one of a number.
 */
export interface ListCheckpoints {
  limit?: number;
  after?: number | null;
}
/**
 * A page of the threads that are due to be deleted or erased, by policies of retention or by ``expires_after``.
 *
 * ``until`` asks for those that are due by another time than now. ``after`` is the ``next`` of the page before. A page
 * may have fewer than ``limit`` threads, or none, while it ``has_more``.
 */
export interface ListDue {
  until?: string | number | null;
  limit?: number;
  after?: string | null;
}
/**
 * A page of the tenant's erasures, newest first, from the newest or ``after`` the one of an id.
 *
 * ``status`` and ``thread_id`` choose among them.
 */
export interface ListErasures {
  limit?: number;
  after?: string | null;
  status?: ("completed" | "erased" | "failed" | "requested") | null;
  thread_id?: string | null;
}
/**
 * A page of the threads of the tenant that have legal holds, deleted ones too, from the index and by their ids.
 *
 * The first page also has the standing holds. ``hold`` chooses the holds of that name. ``thread_id`` asks for those of
 * one thread, and the standing ones that cover it, as of its latest commit and not from the index. ``after`` is the id
 * after which the page begins. ``at_least`` is as in :class:`ListThreads`.
 */
export interface ListHolds {
  hold?: string | null;
  thread_id?: string | null;
  limit?: number;
  after?: string | null;
  at_least?: string | null;
}
/**
 * A page of a thread's items of all types, by default newest first.
 *
 * ``after`` and ``before`` are item ids: the page begins after the one, and ends before the other. With ``before``
 * alone it is the page right before that item.
 */
export interface ListItems {
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  limit?: number;
  order?: "asc" | "desc";
  after?: string | null;
  before?: string | null;
  consistency?: "eventual" | "strong";
  at_least?: number | null;
}
/**
 * A page of a thread's items as they were ``as_of`` a commit or time, with the cursors of ``ListItems``.
 */
export interface ListItemsAt {
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  as_of: number | string;
  limit?: number;
  order?: "asc" | "desc";
  after?: string | null;
  before?: string | null;
}
/**
 * A page of a thread's messages, by default newest first.
 *
 * ``after`` and ``before`` are message ids: the page begins after the one, and ends before the other. With ``before``
 * alone it is the page right before that message.
 */
export interface ListMessages {
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  limit?: number;
  order?: "asc" | "desc";
  after?: string | null;
  before?: string | null;
  consistency?: "eventual" | "strong";
  at_least?: number | null;
}
/**
 * A page of a thread's messages as they were ``as_of`` a commit or time, with the cursors of ``ListMessages``.
 */
export interface ListMessagesAt {
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  as_of: number | string;
  limit?: number;
  order?: "asc" | "desc";
  after?: string | null;
  before?: string | null;
}
/**
 * All policies of retention of the tenant.
 */
export interface ListRetention {}
/**
 * A page of the tenant's threads, from the index, without deleted threads.
 *
 * ``where`` filters threads, and ``kind`` chooses conversations, whose ids begin with ``conv_``, or all others.
 * ``search`` selects threads with a message, or another item, that contains all of its words, and orders by ``match``:
 * the newest such message of each thread. Without a search, the order is by ``created`` (the default) or ``updated``.
 * ``after`` and ``before`` are cursors from answers to the same query, between which the page lies; with ``before``
 * alone it is the page right before that cursor. When ordered by ``created``, a thread's id also works. ``count`` adds
 * the number of all matching threads, ``facets`` the most frequent values of metadata keys, and ``actors`` the most
 * frequent actors of first and latest commits. ``first_text`` adds to each thread how it begins. ``at_least`` waits
 * until the index has reached a position ``<shard>-<sequence>``, or several with commas.
 */
export interface ListThreads {
  kind?: ("conversation" | "thread") | null;
  where?: Condition | null;
  search?: string | null;
  order_by?: ("created" | "match" | "updated") | null;
  order?: "asc" | "desc";
  limit?: number;
  after?: string | null;
  before?: string | null;
  count?: boolean;
  facets?: string[];
  actors?: boolean;
  first_text?: boolean;
  at_least?: string | null;
}
/**
 * A thread in a list, with the values that lists are filtered and ordered by.
 *
 * ``updated_at`` is in Unix seconds, ``version`` is the number of the latest commit. ``message_count``
 * counts items of all types. Only a search has ``excerpt``, and ``first_text`` is left out unless requested.
 */
export interface ListedThread {
  id: string;
  object?: "thread";
  created_at: number;
  metadata: {
    [k: string]: string;
  };
  tool_resources: Resources;
  expires_after?: ExpiresAfter;
  expires_at?: number;
  erased?: boolean;
  forked_from?: ForkedFrom;
  updated_at: number;
  version: number;
  message_count: number;
  created_by: string;
  updated_by: string;
  excerpt?: Excerpt;
  first_text?: FirstText;
}
/**
 * Keys to set and to remove. Other keys stay as they are, so writers of different keys do not conflict.
 */
export interface MetadataPatch {
  set?: {
    [k: string]: string;
  };
  unset?: string[];
}
/**
 * A thread as it was after commit ``n``, made at ``at``; null if it had been deleted by then.
 *
 * ``message_count`` counts its items of all types.
 */
export interface Moment {
  position: Position;
  n: number;
  at: string;
  thread: Thread | null;
  message_count: number;
}
/**
 * Place a legal hold on a thread, deleted or not: nothing of it can be erased until all its holds are released.
 *
 * ``hold`` is the name of the hold, a code that is kept for ever: at most 64 letters, digits and ``_.:-``. A hold that
 * the thread has already stays as it is.
 */
export interface PlaceHold {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  /**
   * a code of 1 to 64 letters, digits and '_', '.', ':' or '-', not dots alone, such as 'asked_by_customer'
   */
  hold: string;
}
/**
 * Place a standing legal hold of this name on all threads that match ``where``, now and later, deleted or not.
 *
 * Nothing of them can be erased while they match, until it is released. ``hold`` is a code, as in :class:`PlaceHold`.
 */
export interface PlaceStandingHold {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * a code of 1 to 64 letters, digits and '_', '.', ':' or '-', not dots alone, such as 'asked_by_customer'
   */
  hold: string;
  where: Condition;
}
/**
 * Delete the newest item of a thread and answer with it; a thread without items stays as it is.
 *
 * Unlike other commands it shows what others wrote: permit it to those who may read.
 */
export interface PopItem {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
}
/**
 * Where a thread was before it was imported.
 *
 * ``source`` is the kind of the source, ``id`` the thread's id there, ``file`` the SHA-256 of the file that it came
 * in, and ``created_at`` when it was created there, if that is known.
 */
export interface Provenance1 {
  source: string;
  id: string;
  file: string;
  created_at?: string | null;
}
/**
 * A message as stored: its id and ordinal are in its event, its thread and time in the commit.
 */
export interface RecordedMessage2 {
  role: "assistant" | "user";
  content: (Text | ImageFile | ImageUrl)[];
  attachments?: Attachment[];
  metadata: {
    [k: string]: string;
  };
}
/**
 * Release the legal hold of this name on a thread. Other holds stay.
 */
export interface ReleaseHold {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  /**
   * a code of 1 to 64 letters, digits and '_', '.', ':' or '-', not dots alone, such as 'asked_by_customer'
   */
  hold: string;
}
/**
 * Release the standing legal hold of this name. Holds of this name on single threads stay.
 */
export interface ReleaseStandingHold {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * a code of 1 to 64 letters, digits and '_', '.', ':' or '-', not dots alone, such as 'asked_by_customer'
   */
  hold: string;
}
/**
 * Remove the policy of retention of this name. What it has deleted or erased stays so.
 */
export interface RemoveRetention {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * a code of 1 to 64 letters, digits and '_', '.', ':' or '-', not dots alone, such as 'asked_by_customer'
   */
  name: string;
}
/**
 * Replace an item by another, which takes its id and its place.
 */
export interface ReplaceItem {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  /**
   * 1 to 64 letters, digits and '_', '-', '.' or ':', not dots alone
   */
  item_id: string;
  /**
   * An item: a JSON object with a type and an id, as it was given.
   */
  item: {
    [k: string]: unknown;
  };
}
/**
 * Restore a deleted thread, as it was. One that is not deleted stays as it is.
 */
export interface RestoreThread {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
}
/**
 * A policy of retention: what becomes of the threads that match ``where``, or with null of all, and when.
 */
export interface Retention {
  name: string;
  object?: "retention";
  after_days: number;
  since: "changed" | "created" | "original";
  where: Condition | null;
  then: "delete" | "erase";
  erase_after_days: number | null;
}
/**
 * All policies of retention of a tenant, by their names.
 */
export interface RetentionList {
  object?: "list";
  data: Retention[];
}
/**
 * An erasure with its certificate, which is null until the erasure is completed.
 */
export interface RetrievedErasure {
  id: string;
  object?: "erasure";
  status: "completed" | "erased" | "failed" | "requested";
  thread_id: string;
  message_id?: string | null;
  code?: string | null;
  actor: string;
  by: string;
  n?: number | null;
  position?: Position | null;
  commits?: number;
  requested_at: string;
  erased_at?: string | null;
  completed_at?: string | null;
  fault?: string | null;
  left?: string[];
  certificate?: string | null;
  signed?: SignedCertificate | null;
}
/**
 * A certificate. ``note`` is the signed text with its signatures, and ``keys`` made those.
 *
 * ``says`` is the text, read; the signatures are not verified here: that takes the public key.
 */
export interface SignedCertificate {
  says: Certificate;
  keys: string[];
  note: string;
}
/**
 * Set the policy of retention of this name, a code, in place of one that has it: it deletes or erases old threads.
 *
 * It is for the threads that match ``where``, or for all, once they are ``after_days`` old, counted since they were
 * ``created`` here or last ``changed``, or since the ``original`` of one that was imported was created. Held threads
 * are left out. ``then`` says whether they are deleted or erased; ``erase_after_days``, only with ``delete``, that
 * they are erased so many days later. A policy for all threads there are takes ``confirm``.
 */
export interface SetRetention {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * a code of 1 to 64 letters, digits and '_', '.', ':' or '-', not dots alone, such as 'asked_by_customer'
   */
  name: string;
  after_days: number;
  since: "changed" | "created" | "original";
  then: "delete" | "erase";
  erase_after_days?: number | null;
  where?: Condition | null;
  confirm?: boolean;
}
/**
 * At most one vector store for file search.
 */
export interface StoresForSearch {
  vector_store_ids?: string[];
}
/**
 * A past state: after commit ``n``, made at ``at``, the last commit up to the point of the query.
 */
export interface Then {
  position: Position;
  n: number;
  at: string;
  thread?: Thread | null;
  message?: Message | null;
  messages?: MessagePage | null;
  /**
   * An item: a JSON object with a type and an id, as it was given.
   */
  item?: {
    [k: string]: unknown;
  };
  items?: ItemPage | null;
}
/**
 * A page of threads. ``first_id`` and ``last_id`` are null if it is empty.
 *
 * ``next`` is the cursor of the next page (its ``after``), null on the last page; ``previous`` is that of the previous
 * page (its ``before``), null on the first page. ``count``, ``facets`` and ``actors`` are null unless requested.
 */
export interface ThreadList {
  object?: "list";
  data: ListedThread[];
  first_id: string | null;
  last_id: string | null;
  has_more: boolean;
  next: string | null;
  previous: string | null;
  fresh: Freshness;
  count?: Count | null;
  facets?: Facet[] | null;
  actors?: Facet[] | null;
}
/**
 * What a thread's tools may use.
 */
export interface ToolResources2 {
  code_interpreter?: CodeInterpreter | null;
  file_search?: FileSearch | null;
}
/**
 * What a thread's tools may use, in place of all that they could use before.
 */
export interface ToolResourcesIn {
  code_interpreter?: FilesForCode | null;
  file_search?: StoresForSearch | null;
}
/**
 * Change a message's metadata: ``metadata`` replaces all of it, ``patch`` single keys.
 */
export interface UpdateMessage {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  /**
   * 'msg_' and 24 letters and digits
   */
  message_id: string;
  metadata?: {
    [k: string]: string;
  } | null;
  patch?: MetadataPatch;
}
/**
 * Change a thread. What is omitted stays as it is. ``metadata`` replaces all metadata; null or {} clears it.
 *
 * ``patch`` sets and removes single metadata keys instead, and leaves the others as they are. With null as
 * ``expires_after`` the thread does not expire any more.
 */
export interface UpdateThread {
  id?: string | null;
  actor?: string | null;
  reason?: string | null;
  expected_version?: number | null;
  reply_to?: string | null;
  /**
   * 'thread' or 'conv_', and up to 122 letters, digits, '_' and '-'
   */
  thread_id: string;
  metadata?: {
    [k: string]: string;
  } | null;
  patch?: MetadataPatch;
  tool_resources?: ToolResourcesIn | null;
  expires_after?: ExpiresAfterIn | null;
}

/** Every command: what is sent, and what is answered. */
export interface Commands {
  create_thread: { request: CreateThread; answer: Done };
  update_thread: { request: UpdateThread; answer: Done };
  delete_thread: { request: DeleteThread; answer: Done };
  fork_thread: { request: ForkThread; answer: Done };
  restore_thread: { request: RestoreThread; answer: Done };
  add_message: { request: AddMessage; answer: Done };
  update_message: { request: UpdateMessage; answer: Done };
  delete_message: { request: DeleteMessage; answer: Done };
  add_items: { request: AddItems; answer: Done };
  replace_item: { request: ReplaceItem; answer: Done };
  delete_item: { request: DeleteItem; answer: Done };
  pop_item: { request: PopItem; answer: Done };
  clear_items: { request: ClearItems; answer: Done };
  erase_item: { request: EraseItem; answer: Done };
  erase_thread: { request: EraseThread; answer: Done };
  erase_message: { request: EraseMessage; answer: Done };
  place_hold: { request: PlaceHold; answer: Done };
  release_hold: { request: ReleaseHold; answer: Done };
  place_standing_hold: { request: PlaceStandingHold; answer: Done };
  release_standing_hold: { request: ReleaseStandingHold; answer: Done };
  set_retention: { request: SetRetention; answer: Done };
  remove_retention: { request: RemoveRetention; answer: Done };
}

/** Every query: what is asked, and what is answered. */
export interface Queries {
  list_erasures: { request: ListErasures; answer: ErasurePage };
  get_erasure: { request: GetErasure; answer: RetrievedErasure };
  list_holds: { request: ListHolds; answer: HoldPage };
  list_retention: { request: ListRetention; answer: RetentionList };
  list_due: { request: ListDue; answer: DuePage };
  get_thread: { request: GetThread; answer: Found };
  list_threads: { request: ListThreads; answer: ThreadList };
  list_messages: { request: ListMessages; answer: Found };
  get_message: { request: GetMessage; answer: Found };
  list_items: { request: ListItems; answer: Found };
  get_item: { request: GetItem; answer: Found };
  items_at: { request: ListItemsAt; answer: Then };
  item_at: { request: GetItemAt; answer: Then };
  history: { request: GetHistory; answer: History };
  state_at: { request: GetStateAt; answer: Moment };
  feed: { request: GetFeed; answer: Feed };
  messages_at: { request: ListMessagesAt; answer: Then };
  message_at: { request: GetMessageAt; answer: Then };
  diff: { request: GetDifference; answer: Difference };
  blame: { request: GetBlame; answer: Blame };
  list_checkpoints: { request: ListCheckpoints; answer: CheckpointPage };
  get_checkpoint: { request: GetCheckpoint; answer: SignedCheckpoint };
  proof: { request: GetProof; answer: KeptProof };
}

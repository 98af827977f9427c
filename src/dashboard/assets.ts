// Made of the files in client/ by `deno task dashboard:assets`: change those, and run it.

/** The script of the page. */
export const SCRIPT: string =
  `const $=e=>document.getElementById(e),view=$("view"),stale=$("stale"),said=$("said"),filters=$("\\
filters"),dialog=$("dialog"),POLL_MS=Number(document.body.dataset.pollMs),ADDRESS=location.origin+
location.pathname,TIMEOUT_MS=15e3;document.documentElement.classList.add("js");const looking=[...new FormData(
filters)].some(([,e])=>e!=="");$("filtering").open=looking||!matchMedia("(max-width: 48rem)").matches;
let timer=0,freshAt=Date.now(),offset=0,asked=0;async function refresh(){clearTimeout(timer);const e=++asked;
let t="";try{const s=await fetch(ADDRESS+location.search,{headers:{"fuse-fragment":"view"},cache:"\\
no-store",signal:AbortSignal.timeout(TIMEOUT_MS)}),n=await s.text();if(e!==asked)return;const o=new DOMParser().
parseFromString(n,"text/html").getElementById("view");o?show(o):t=TROUBLES[s.status]??\`it answer\\
s with status \${s.status}\`}catch{if(e!==asked)return;t="it does not answer"}tell(stale,t&&\`This \\
is not up to date: \${t}. Last refreshed at \${clock(freshAt)}.\`),document.body.classList.toggle("\\
stale",t!==""),timer=setTimeout(poll,POLL_MS)}const TROUBLES={200:"the answer is not the dashboa\\
rd's",401:"you are not signed in any more",403:"it does not let you in any more"};function poll(){
document.hidden||refresh()}function show(e){const t=document.activeElement;morph(view,e),t?.isConnected&&
t!==document.activeElement&&t.focus(),freshAt=Date.now(),settle()}function settle(){offset=Number(
view.dataset.now)-Date.now();const e=Number($("summary")?.dataset.open??0);document.title=(e>0?\`\\
(\${e} open) \`:"")+document.body.dataset.title,tick()}function tell(e,t){e.textContent!==t&&(e.textContent=
t),e.hidden=t===""}function morph(e,t){for(const{name:o,value:a}of t.attributes)e.getAttribute(o)!==
a&&e.setAttribute(o,a);for(const{name:o}of[...e.attributes])t.hasAttribute(o)||e.removeAttribute(
o);const s=new Map([...e.children].filter(({id:o})=>o).map(o=>[o.id,o]));let n=e.firstChild;for(const o of[
...t.childNodes]){const a=o.id?s.get(o.id):n&&!n.id&&alike(n,o)?n:void 0;if(a===void 0||!alike(a,
o)){e.insertBefore(document.adoptNode(o),n);continue}a===n?n=n.nextSibling:e.insertBefore(a,n),a.
nodeType===Node.ELEMENT_NODE?morph(a,o):a.data!==o.data&&(a.data=o.data)}for(;n;){const o=n.nextSibling;
n.remove(),n=o}}function alike(e,t){return e.nodeType===t.nodeType&&e.nodeName===t.nodeName}function tick(){
const e=Date.now()+offset;for(const t of view.querySelectorAll("time")){const s=Date.parse(t.dateTime),
n=s>e?\`in \${span(s-e)}\`:\`\${span(e-s)} ago\`;t.textContent!==n&&(t.textContent=n),t.title=new Date(
s).toLocaleString()}tell($("live"),\`refreshed \${span(Date.now()-freshAt)} ago\`)}function span(e){
const t=Math.round(e/1e3);return t<90?\`\${t} s\`:t<5400?\`\${Math.round(t/60)} min\`:t<129600?\`\${Math.
round(t/3600)} h\`:\`\${Math.round(t/86400)} days\`}function clock(e){return new Date(e).toLocaleTimeString()}
async function go(e,t=!1){t||history.pushState(null,"",location.pathname+e);const s=new URLSearchParams(
location.search);for(const n of filters.elements)n.name&&(n.value=s.get(n.name)??"");document.body.
classList.add("busy"),await refresh(),document.body.classList.remove("busy")}document.addEventListener(
"click",e=>{const t=e.target.closest("button.act");if(t)return open(t);const s=e.target.closest(
"a[href^='?']");!s||e.button!==0||e.ctrlKey||e.metaKey||e.shiftKey||(e.preventDefault(),go(s.getAttribute(
"href")).then(()=>$("detail")?.scrollIntoView({block:"nearest"})))}),filters.addEventListener("s\\
ubmit",e=>{e.preventDefault();const t=[...new FormData(filters)].filter(([,s])=>s!=="");go(\`?\${new URLSearchParams(
t)}\`)}),filters.addEventListener("change",({target:e})=>{e.tagName==="SELECT"&&filters.requestSubmit()}),
addEventListener("popstate",()=>go(location.search,!0)),document.addEventListener("visibilitycha\\
nge",poll),addEventListener("online",poll);let target={store:"",key:""};function open({dataset:e}){
const t=$("order");t.reset(),target={store:e.store,key:e.key},$("dialog-circuit").textContent=e.
title,$("dialog-store").textContent=\`in \${e.store}\`,e.overridden==="yes"&&(t.querySelector("[val\\
ue=release]").checked=!0),tell($("dialog-error"),""),adapt(),dialog.showModal()}function adapt(){
const{elements:e}=$("order"),t=dialog.querySelector("[name=action]:checked"),s=t?.dataset.ends===
"yes";$("ends").hidden=e.end.disabled=!s;const n=s&&e.end.value==="minutes";$("minutes").hidden=
e.minutes.disabled=!n,$("do").textContent=t?.closest("label").querySelector("b").textContent??"D\\
o it"}function orderOf({reason:e,end:t,minutes:s}){if(t.disabled||t.value==="none")return{reason:e.
value};const n=t.value==="minutes"?s.value*6e4:Number(t.value);return{reason:e.value,forMs:n}}function segment(e){
return encodeURIComponent(/^\\.{1,2}$/.test(e)?e.replaceAll(".","%2E"):e)}async function act(){const{
elements:e}=$("order"),t=e.action.value,s=[target.store,target.key,t].map(segment).join("/");$("\\
do").disabled=!0;try{const n=await fetch(\`\${ADDRESS.replace(/\\/+$/,"")}/api/circuits/\${s}\`,{method:"\\
POST",headers:{"content-type":"application/json"},body:JSON.stringify(orderOf(e)),signal:AbortSignal.
timeout(TIMEOUT_MS)}),o=await n.json().catch(()=>({}));if(!n.ok)throw new Error(o.error??\`The da\\
shboard answers \${n.status}\`);dialog.close(),tell(said,o.explanation??\`\${$("dialog-circuit").textContent}\\
 is removed\`),await refresh()}catch(n){const o=n.name==="TimeoutError"||n instanceof TypeError;tell(
$("dialog-error"),o?"The dashboard does not answer: look whether it is done before you try again":
n.message)}finally{$("do").disabled=!1}}dialog&&($("order").addEventListener("submit",e=>{e.preventDefault(),
act()}),$("order").addEventListener("change",adapt),$("cancel").addEventListener("click",()=>dialog.
close())),settle(),setInterval(tick,1e3),timer=setTimeout(poll,POLL_MS);`;

/** The style sheets of the page. */
export const STYLE: string =
  `:root{color-scheme:light dark;--back: #f5f6f8;--panel: #fff;--text: #1c2128;--muted: #59626e;--line:
#dde1e7;--link: #2350b8;--bad: #a8201a;--bad-back: #fdeceb;--warn: #8a5200;--warn-back: #fff3dc;
--held: #47399f;--held-back: #efecfd;--good: #1a6a3e;--good-back: #e6f5ec;--shadow: 0 1px 2px rgb(16
24 40 / 6%)}@media(prefers-color-scheme:dark){:root{--back: #0e1116;--panel: #161b22;--text: #e5e9ef;
--muted: #9aa5b3;--line: #2a313b;--link: #8db2ff;--bad: #ff9790;--bad-back: #3c1a1a;--warn: #f4c06a;
--warn-back: #362811;--held: #bdb3ff;--held-back: #2a2450;--good: #79d6a2;--good-back: #12321f;--shadow:
none}}*{box-sizing:border-box}[hidden]{display:none!important}html:not(.js) :is(button.act,.script),
.js .scriptless{display:none}body{margin:0 auto;padding:1.25rem clamp(.75rem,3vw,2rem) 3rem;max-width:100rem;
background:var(--back);color:var(--text);font:.9375rem/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums}
h1,h2,h3,p,dl,dd,ul,ol{margin:0;padding:0}h1{font-size:1.375rem;font-weight:650;letter-spacing:-.01em}
h2{font-size:1.125rem;font-weight:650;overflow-wrap:anywhere}h3{margin:1.25rem 0 .5rem;color:var(--muted);
font-size:.8125rem;font-weight:600}a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
small,.hint,#live{color:var(--muted);font-size:.8125rem}:focus-visible{outline:2px solid var(--link);
outline-offset:2px;border-radius:4px}#view:focus{outline:none}.skip,.unseen{position:absolute;width:1px;
height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}.skip:focus{width:auto;height:auto;
clip-path:none}#top{display:flex;flex-wrap:wrap;align-items:baseline;gap:.75rem;margin-bottom:1rem}
#live{margin-left:auto}.tag,.scope{padding:.05rem .45rem;border:1px solid var(--line);border-radius:1rem;
color:var(--muted);font-size:.8125rem;font-weight:400;white-space:nowrap}.notice,#stale,#said{margin-bottom:1rem;
padding:.6rem .9rem;border:1px solid currentcolor;border-radius:8px;overflow-wrap:anywhere}.notice.bad{
background:var(--bad-back);color:var(--bad)}#stale,.notice.warn{background:var(--warn-back);color:var(--warn);
font-weight:550}#said{background:var(--good-back);color:var(--good)}.stale #view{opacity:.6}.busy{
cursor:progress}:is(input,select):not([type=radio]){height:2.3rem}button,input,select,textarea{padding:.4rem
.65rem;border:1px solid var(--line);border-radius:6px;background:var(--panel);color:inherit;font:inherit}
button{cursor:pointer;font-weight:550}button:hover{border-color:var(--muted)}button.primary{border-color:var(--link);
background:var(--link);color:var(--panel)}button:disabled{opacity:.6}.buttons{display:flex;align-items:center;
gap:.75rem}#filtering>summary{display:none}#filters{display:flex;flex-wrap:wrap;align-items:end;
gap:.75rem;margin-bottom:1.25rem}#filters label{flex:1 1 7.5rem;max-width:13rem}#filters .grow{flex:2
1 14rem;max-width:26rem}#filters span,.field span{display:block;margin-bottom:.15rem;color:var(--muted);
font-size:.8125rem}#filters :is(input,select),.field :is(input,select,textarea){width:100%}dialog{
width:min(34rem,calc(100vw - 1.5rem));padding:1.25rem 1.5rem 1.5rem;border:1px solid var(--line);
border-radius:12px;background:var(--panel);color:inherit;box-shadow:0 12px 40px #00000040}dialog::backdrop{
background:#0a0c108c}fieldset{margin:.75rem 0;padding:0;border:0}legend{margin-bottom:.25rem;padding:0;
color:var(--muted);font-size:.8125rem}.choice{display:flex;align-items:baseline;gap:.6rem;padding:.25rem
0}.choice span{color:var(--muted)}.choice b{color:var(--text);font-weight:600}.choice input{accent-color:var(--link)}
.field{display:block;margin-bottom:.75rem}dialog .hint{margin-bottom:.9rem}dialog .buttons{justify-content:flex-end}
#stores{display:flex;flex-wrap:wrap;gap:.4rem 1.5rem;margin-bottom:1rem;list-style:none;color:var(--muted)}
#stores b{color:var(--text);font-weight:600}#stores li:before{content:"●" / "";margin-right:.4rem;
color:var(--good)}#stores .bad,#stores .bad:before{color:var(--bad)}#stores .bad:before{content:"\\
▲" / ""}#stores small:before{content:"· "}#stores small{margin-left:.3rem}#summary{display:flex;
flex-wrap:wrap;align-items:baseline;gap:.5rem 1.25rem;margin-bottom:.75rem}.count b{font-size:1.375rem;
font-weight:650}.count.bad{color:var(--bad)}.count.warn{color:var(--warn)}.count.held{color:var(--held)}
.calm{color:var(--good)}.badge{display:inline-block;padding:.1rem .55rem;border-radius:5px;font-size:.8125rem;
font-weight:600;white-space:nowrap}.badge:before{margin-right:.35rem}.badge.bad{background:var(--bad-back);
color:var(--bad)}.badge.bad:before{content:"✕" / ""}.badge.warn{background:var(--warn-back);color:var(--warn)}
.badge.warn:before{content:"◐" / ""}.badge.held{background:var(--held-back);color:var(--held)}
.badge.held:before{content:"◆" / ""}.badge.good{background:var(--good-back);color:var(--good)}
.badge.good:before{content:"✓" / ""}#list table{width:100%;margin-bottom:1.25rem;border:1px solid
var(--line);border-collapse:separate;border-spacing:0;border-radius:10px;overflow:hidden;table-layout:fixed;
background:var(--panel);box-shadow:var(--shadow)}#list caption{padding:0 0 .4rem;text-align:left;
color:var(--muted);font-size:.8125rem;font-weight:600}#list :is(td,th){padding:.6rem .8rem;border-bottom:1px
solid var(--line);text-align:left;vertical-align:top}#list thead th{padding-block:.45rem;color:var(--muted);
font-size:.8125rem;font-weight:500}#list tbody tr:last-child>*{border-bottom:0}#list tbody th{font-weight:550;
overflow-wrap:anywhere}#list tr[aria-current]>*{background:color-mix(in srgb,var(--link) 8%,transparent)}
#list td.store{color:var(--muted);overflow-wrap:anywhere}#list .actions{text-align:right}.name{display:flex;
flex-wrap:wrap;gap:.15rem .5rem}#list .actions button{padding:.15rem .6rem}.failures>span{display:block}
.failures small:before{content:" · "}.override>*,.opened>*{display:inline-block;margin-right:.35rem}
.override>:not(:last-child):after,.opened>:not(:last-child):after{content:","}.why{overflow-wrap:anywhere}
.opened{display:block}.since{color:var(--muted)}.failure{font-weight:550}.endless{color:var(--warn)}
#pages{display:flex;gap:1.25rem}@media(min-width:48.01rem){#urgent tr.bad>:first-child{box-shadow:inset
3px 0 var(--bad)}#urgent tr.warn>:first-child{box-shadow:inset 3px 0 var(--warn)}#urgent tr.held>
:first-child{box-shadow:inset 3px 0 var(--held)}#list th:nth-child(1){width:9.5rem}#list th:nth-child(2){
width:26%}#list th:nth-child(4){width:14rem}#list th:nth-child(5){width:8rem}#list th:nth-child(6){
width:5.5rem}}@media(max-width:48rem){#filtering>summary{display:list-item;margin-bottom:.75rem;
color:var(--link);cursor:pointer}#list thead{display:none}#list :is(table,tbody,tr,td,th,caption){
display:block;width:auto}#list table{border:0;background:none;box-shadow:none}#list tbody tr{display:grid;
grid-template-columns:1fr auto;gap:.35rem .75rem;margin-bottom:.6rem;padding:.7rem .85rem;border:1px
solid var(--line);border-radius:10px;background:var(--panel)}#list tbody tr.bad{box-shadow:inset
3px 0 var(--bad)}#list tbody tr.warn{box-shadow:inset 3px 0 var(--warn)}#list tbody tr.held{box-shadow:inset
3px 0 var(--held)}#list tbody tr :is(td,th){width:auto;padding:0;border:0;box-shadow:none}#list tbody
th{grid-column:1;grid-row:1}#list .state{grid-column:2;grid-row:1;justify-self:end}#list :is(.why,
.failures){grid-column:1 / -1;width:auto}#list .why:empty{display:none}#list .store{align-self:center}
#list .actions button{padding:.4rem .9rem}}@media(prefers-reduced-motion:no-preference){#view{transition:opacity
.2s}}#detail{margin-bottom:1.5rem;padding:1rem 1.25rem 1.25rem;border:1px solid var(--line);border-top:3px
solid var(--line);border-radius:10px;background:var(--panel);box-shadow:var(--shadow)}#detail.bad{
border-top-color:var(--bad)}#detail.warn{border-top-color:var(--warn)}#detail.held{border-top-color:var(--held)}
#detail.good{border-top-color:var(--good)}#detail header{display:flex;flex-wrap:wrap;align-items:baseline;
gap:.75rem}#detail .close{margin-left:auto}#detail .place{display:flex;flex-wrap:wrap;gap:.5rem;
margin-bottom:.75rem;color:var(--muted)}#explanation{margin-bottom:.9rem;color:var(--muted);font-size:.875rem;
overflow-wrap:anywhere}#detail dl{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1rem;
margin-top:.9rem}dt{color:var(--muted)}dd{overflow-wrap:anywhere}#gauges{width:100%;border-collapse:collapse}
#gauges td{padding:.15rem 1rem .15rem 0}#gauges td+td{color:var(--muted)}#policy{font-size:.875rem}
#timeline{display:block;width:100%;height:24px;border-radius:5px}#timeline .track{fill:var(--good-back)}
#timeline .open{fill:var(--bad)}.axis{display:flex;justify-content:space-between;gap:1rem;color:var(--muted);
font-size:.8125rem}#events{list-style:none}#events li{padding:.3rem 0;border-bottom:1px solid var(--line);
overflow-wrap:anywhere}#events li:last-child{border:0}#events time{display:inline-block;min-width:6.5rem;
color:var(--muted)}@media(min-width:75rem){.split{display:grid;grid-template-columns:minmax(0,1fr)
27rem;column-gap:1.5rem;align-items:start}.split>*{grid-column:1}.split>#stores{grid-column:1 / -1}
.split>#detail{position:sticky;top:1rem;grid-column:2;grid-row:2 / span 4;max-height:calc(100vh -
2rem);overflow:auto}.split #list :is(.store,thead th:nth-child(5)){display:none}.split #list th:nth-child(2){
width:24%}.split #list th:nth-child(4){width:10.5rem}}`;

// Made of script/*.lua by `deno task lua`: change those, and run it.

/** What a store runs in Redis, for any operation. */
export const SCRIPT: string =
  `local a,b,c,d=KEYS[1],KEYS[2],KEYS[3],KEYS[4]local e,f,g=ARGV[1],ARGV[4],redis.call;local h,i,j=
tonumber(ARGV[5]),tonumber(ARGV[6]),tonumber(ARGV[7])local k=table.remove(ARGV)~=''local l=table.
remove(ARGV)if e=='confirm'then g('HDEL',a,unpack(ARGV,9))return{1,0,0}end;local m=math.floor(ARGV[3
]~=''and ARGV[3]or ARGV[2])if ARGV[3]==''then local n,o=pcall(g,'TIME')if n then m=o[1]*1000+math.
floor(o[2]/1000)end end;local function p(q)return type(q)=='number'and string.format('%.0f',q)or q
or''end;local function r(q)local s=tonumber(q)return s and s%1==0 and math.abs(s)<=9007199254740991
and s or nil end;local function t(q)return math.max(0,r(q)or 0)end;local function u(v,w)for x=1,#w,
1000 do g('HDEL',v,unpack(w,x,math.min(x+999,#w)))end end;local function y(v)local z,A={},g(
'HGETALL',v)for x=1,#A,2 do z[A[x]]=A[x+1]end;return z,#A>0 end;local B,C,D,E=y(a),{},{},false;local
function F(G,q)B[G]=p(q)C[G],E=B[G],true end;local function H(G)B[G],C[G],E=nil,nil,true;D[#D+1]=G
end;local function I(G)return r(B[G])end;local function J()return(B.override or'')~=''end;local
function K(G)return G:sub(1,6)=='lease:'end;if B.epoch==''then B.epoch=nil end;local L=not B.epoch;
if B.prefix and B.prefix~=ARGV[8]then return redis.error_reply(
'ERR the circuit belongs to a store with another prefix')end;local function M(G,q)B[G],C[G]=q,q end;
if not L then if not({CLOSED=1,OPEN=1,HALF_OPEN=1})[B.state]then M('state','CLOSED')end;if t(B.
generation)~=I('generation')then M('generation','0')end;if t(B.since)~=I('since')then M('since',B.
generation)end;local N={forced_open=1,forced_closed=1,disabled=1,metrics_only=1}if J()and not N[B.
override]then for O,G in ipairs({'','.until','.reason','.actor'})do M('override'..G,'')end end end;
local P,Q={'epoch','policyHash','outcomes','cursor','since','trial','halfOpen.successes',
'halfOpen.failures','totals.successes','totals.failures','totals.rejected','totals.slow',
'lastFailureAt','lastSuccessAt','ids','sinceClosed.successes','sinceClosed.failures',
'sinceClosed.slow','consecutiveSuccesses','consecutiveFailures','start','newest.successes',
'newest.failures','newest.slow','floor','after','from','older.successes','older.failures',
'older.slow'},16;local R,S,T,U={},nil,false,false;local V=g('HMGET',b,'id:'..f,unpack(P))local n=r(
table.remove(V,1))if not L and V[1]==B.epoch then for x,W in ipairs(P)do if x>4 then R[W]=r(V[x])
else R[W]=V[x]or nil end end;if n and m-math.floor(n/2)<60000 then S=n%2==1 end else V,U={},V[1]end;
local X=R.policyHash;local function Y(W)return R[W]or 0 end;local function Z(W,s)if s~=0 then R[W]=Y(
W)+s end end;local function _(a0,a1,a2,a3)Z(a0 ..'.successes',a1)Z(a0 ..'.failures',a2)Z(a0 ..
'.slow',a3)end;local function a4(a0)return Y(a0 ..'.successes'),Y(a0 ..'.failures'),Y(a0 ..'.slow')
end;local function a5(...)for O,W in ipairs({...})do R[W]=nil end end;local function a6()if R.since
~=I('since')then a5('outcomes',unpack(P,Q))R.since=I('since')end;if R.trial~=I('generation')then a5(
'halfOpen.successes','halfOpen.failures')R.trial=I('generation')end end;a6()local function a7(a8)S,T
,E=a8,true,true end;local a9={'consecutiveFailures','consecutiveSuccesses','sinceClosed.failures',
'sinceClosed.successes','sinceClosed.slow','totals.failures','totals.successes','totals.rejected',
'totals.slow','halfOpen.successes','halfOpen.failures'}local function aa(ab,ac,ad,ae,af,ag,ah,ai)if
l==''then return end;local aj,ak={},{}for G,q in pairs(B)do local Y,al=G:match(
'^row:(%d+) %-?%d+ (.*)$')if Y then local am=tonumber(q:match('^%S+ %S+ %S+ %S+ (%S+)'))or 0;local
an,ao={am,tonumber(Y),al,G},ak[al]aj[#aj+1]=an;if not ao or am<ao[1]or am==ao[1]and an[2]<ao[2]then
ak[al]=an end end end;if#aj>=64 then for O,an in ipairs(aj)do local ao=ak[an[3]]an[5]=(
'%020.0f%020.0f%s %020.0f'):format(ao[1],ao[2],an[3],an[2])end;table.sort(aj,function(ap,aq)return
ap[5]<aq[5]end)local ar,as=aj[1][4],aj[2][4]local at,au=B[as]:match('^(%d+)(.*)$')F(as,p(t(at)+1+t(B
[ar]:match('^%d+')))..(au or''))H(ar)end;local an={0,ab,B.state,ac or B.state,p(m),af or'-',p(ag or
'-')}for O,W in ipairs(a9)do an[#an+1]=p(Y(W))end;an[#an+1]=ae or l;ah=p(ah or I('generation')+1)ad=
p(ad or m)F('row:'..ah..' '..ad..' '..(ai or B.epoch),table.concat(an,' '))end;local function av(ah,
ad,aw)F('generation',ah)F('began',ad)if aw then F('since',ah)end;for G in pairs(B)do if K(G)then H(G
)end end;a6()end;local function ax(ad,aw)av(I('generation')+1,ad,aw)end;local function ay(ai,ah,ad)
return ai==B.epoch and tonumber(ah)==I('generation')and tonumber(ad)==(I('began')or 0)end;local az=
false;local aA=f..'.'..p(m)local function aB(ah)for G in pairs(B)do if G:sub(1,4)~='row:'and G~=
'expires'then H(G)end end;R,az={},true;F('epoch',aA)F('state','CLOSED')F('prefix',ARGV[8])av(ah,m,
true)end;local function aC(ad,af,ag,aD,aE)F('override',af)F('override.until',ag)F('override.reason',
aD)F('override.actor',aE)az=true;ax(ad,true)end;local aF={}local function aG()local ag=I(
'override.until')if J()and ag and ag<=m then local aH='{"reason":"expired","actor":null,'..(l:match(
'"isolate":.*')or'}')aa('released',nil,ag,aH,B.override)for G,q in pairs(B)do if G:sub(1,8)==
'override'then aF['released'..G:sub(9)]=q end end;aC(ag)end end;local function aI()return B.epoch..
':'..B.since end;local aJ={}local function aK(v,as,aL,s,a3,aM)local z,aN=y(v)if z.of~=aI()then if aL
and aN then g('DEL',v)end;z={}aJ[v]=aL end;local aO,aP,aQ,aR={},{0,0},nil,{}local function aS(G,aT)
if aT==0 then return end;z[G]=p(t(z[G])+aT)aO[#aO+1],aO[#aO+2]=G,z[G]end;local aU=aL and{[p(aL)]=s,[
's'..p(aL)]=a3}or{}for G,aT in pairs(aU)do if aM and z[G]then z[G],aR[#aR+1]=nil,G end;aS(G,aT)end;
for G,aV in pairs(z)do local aW,ad=G:match('^(s?)(%-?%d+)$')ad=tonumber(ad)if ad and(ad>as or ad==aL
)then local x=#aW+1;aP[x]=aP[x]+t(aV)aQ=math.min(aQ or ad,ad)elseif ad then aR[#aR+1]=G end end;if
aL and#aR>(aM and 0 or 20)then u(v,aR)end;if#aO>0 then g('HSET',v,'of',aI(),unpack(aO))end;return aP
[1],aP[2],aQ end;local function aX(as,aL,a1,a2,a3)local aY,aZ,a_=a4('older')local aM=aL and aL<=as;
local b0,O,aQ,b1=aM or R.after and R.after>as,nil,nil,nil;if b0 or aY+a1>0 then aY,O,aQ=aK(d,as,aL,
a1,0,aM)end;if b0 or aZ+a_+a2+a3>0 then aZ,a_,b1=aK(c,as,aL,a2,a3,aM)end;if aM then as=aL-1;R.floor=
as end;R['older.successes'],R['older.failures'],R['older.slow']=aY,aZ,a_;R.after,R.from=as,aQ and b1
and math.min(aQ,b1)or aQ or b1 end;local function b2(a1,a2,a3,b3)local b4,b5,aL=math.ceil(h/10),m,R.
start;if not aL or b3>0 or m>=aL+b4 then b5=math.max(m,aL or m)aL=math.floor((b5-b3)/b4)*b4;if aL<=
b5-h then return end end;if aL~=R.start then local b6=math.max(R.floor or b5-h,b5-h)R.floor=b6;if R.
start and aL<R.start then return aX(b6,aL,a1,a2,a3)end;if R.start and R.start>b6 then aX(b6,R.start,
a4('newest'))else a5('after','from','older.successes','older.failures','older.slow')end;a5(
'newest.successes','newest.failures','newest.slow')R.start=aL end;_('newest',a1,a2,a3)end;local
function b7(W,b8)local b9=R[W]if not(b9 and b9>b8 and b9<=m)then R[W]=b8 end end;local function aV(
a1,a2,a3,b3)_('sinceClosed',a1,a2,a3)if a1>0 then Z('consecutiveSuccesses',a1)a5(
'consecutiveFailures')b7('lastSuccessAt',m-b3)end;if a2>0 then local ba=R.lastSuccessAt;if not ba or
math.max(m,ba)-b3>=ba then Z('consecutiveFailures',a2)a5('consecutiveSuccesses')end;b7(
'lastFailureAt',m-b3)end;if B.state=='HALF_OPEN'then _('halfOpen',a1,a2,0)end;b2(a1,a2,a3,b3)if i>0
then local b8=('S'):rep(math.min(a1,i))..('F'):rep(a2)R.outcomes=((R.outcomes or'')..b8):sub(-i)end
end;local bb=100;local function bc(G)local ag,b4=(B[G]or''):match('^(%S+) (%S+)$')ag,b4=r(ag),r(b4)
if ag and b4 then return ag,b4 end end;local function bd(be,bf,bg)local bh=0;for G in pairs(B)do if
K(G)then local ag,b4=bc(G)if not ag or ag<=m or b4>0 and ag-m>2*b4 then H(G)elseif b4>0 then bh=bh+1
end end end;local G='lease:'..be;local ag,b4=bc(G)if ag then return b4>0 end;if bh>=bf then return
false end;F(G,p(m+bg)..' '..p(bg))return true end;local function bi(be)local ag,b4=bc('lease:'..be)
if not ag or b4==0 then return end;F('lease:'..be,p(ag)..' 0')local aV,ao,bj=0,nil,nil;for G in
pairs(B)do if K(G)then ag,b4=bc(G)if b4==0 then aV=aV+1;if not ao or ag<bj then ao,bj=G,ag end end
end end;if aV>bb then H(ao)end end;local bk,bl=true,false;local function bm(bn,bo)bk=B.epoch or bn;
if not bk then return end;if not B.epoch then aB(1)end;if S==nil then aG()a7(bo())end;bk=S end;if e
=='record'then local ai,ah=ARGV[9],tonumber(ARGV[10])local a1,a2,a3=tonumber(ARGV[12]),tonumber(ARGV
[13]),tonumber(ARGV[15])bm(true,function()local bp=ay(ai,ah,ARGV[11])if ai==''then bp=ah==0 and I(
'generation')==1 end;_('totals',a1,a2,a3)Z('totals.rejected',tonumber(ARGV[14]))R.policyHash=ARGV[18
]if bp and a1+a2>0 then aV(a1,a2,a3,math.max(0,math.floor(ARGV[16])))end;bi(ARGV[17])return bp end)
elseif e=='acquire'and B.epoch then aG()bl=S or false;if J()then bk=B.override~='forced_open'elseif
B.state~='CLOSED'then local bq,b4=(I('openUntil')or m)-m,I('cooldownMs')local br=b4 and bq>b4+math.
max(b4,60000)if not bl and B.state=='OPEN'and(bq<=0 or br)then aa('half_opened','HALF_OPEN')F(
'state','HALF_OPEN')F('reason','cooldown_passed')ax(m)bl=true;a7(true)end;bk=B.state=='HALF_OPEN'and
bd(ARGV[9],tonumber(ARGV[10]),tonumber(ARGV[11]))end elseif e=='transition'then local ac,bs=ARGV[9],
ARGV[14]~=''bm(not bs,function()if bs and not ay(ARGV[13],ARGV[14],ARGV[15])then return false end;if
ARGV[10]=='closed'and Y('halfOpen.failures')>0 then return false end;aa(ARGV[10],ac)if ac=='OPEN'
then F('reopenCount',B.state=='HALF_OPEN'and t(B.reopenCount)+1 or 0)F('openedAt',m)F('openUntil',m+
ARGV[11])F('cooldownMs',ARGV[11])F('lastFailure',ARGV[16])else if B.state~='CLOSED'then F('closedAt'
,m)end;F('reopenCount',0)F('openUntil')F('cooldownMs')end;F('state',ac)F('reason',ARGV[12])ax(m,ac==
'CLOSED')return true end)elseif e=='override'then local af,ag=ARGV[9],tonumber(ARGV[10])bm(af~='',
function()if af==''and not J()then return false end;ag=ag and math.floor(ag-ARGV[2]+m)aa(af==''and
'released'or af,nil,nil,nil,af==''and B.override or af,ag)aC(m,af,ag,ARGV[11],ARGV[12])return true
end)elseif e=='restore'then local b9=B.epoch;bm(true,function()if b9 and ARGV[9]=='keep'then return
false end;local ah=math.max(I('generation'),ARGV[10])+1;aa('imported',ARGV[13]:sub(2),nil,nil,nil,
nil,ah,aA)aB(ah)local function bt(q)local aW=q:sub(1,1)if aW=='='then return q:sub(2)end;return aW==
'@'and p(q:sub(2)-ARGV[2]+m)or q end;local ao,bu=12+2*ARGV[11],{}for O,W in ipairs(P)do bu[W]=true
end;for x=12,ao-1,2 do local G,q=ARGV[x],bt(ARGV[x+1])if bu[G]then R[G]=G~='policyHash'and tonumber(
q)or q else F(G,q)end end;for x=ao,#ARGV,4 do if R.start then aX(-1e15,R.start,a4('newest'))end;R.
start,R['newest.successes']=tonumber(bt(ARGV[x])),tonumber(ARGV[x+1])R['newest.failures'],R[
'newest.slow']=tonumber(ARGV[x+2]),tonumber(ARGV[x+3])end;X=R.policyHash;return true end)end;local
aY,aZ,a3=0,0,0;local as=math.max(m,R.start or m)-h;as=math.max(as,R.floor or as)if R.start and R.
start>as then if(R.after or as)>as or(R.from or m)<=as then aX(as,nil,0,0,0)end;aY,aZ,a3=a4('newest'
)aY,aZ,a3=aY+Y('older.successes'),aZ+Y('older.failures'),a3+Y('older.slow')end;if E then R.epoch=B.
epoch;if not I('openedAt')and not J()then j=math.min(j,864e5)end;local bv=math.max(m,I('openUntil')
or 0,I('override.until')or 0)+j;local bw=bv>(I('expires')or 0)if bw then F('expires',bv+math.floor(j
/8))end;u(a,D)local aO,aR={},{}for G,q in pairs(C)do aO[#aO+1],aO[#aO+2]=G,q end;if#aO>0 then g(
'HSET',a,unpack(aO))end;aO={}if T then R.ids=Y('ids')+1;if R.ids%16==0 then local bx=g('HSCAN',b,(R.
cursor or''):match('^%d+$')or 0,'MATCH','id:*','COUNT',64)R.cursor=bx[1]for x=1,#bx[2],2 do if m-
math.floor(t(bx[2][x+1])/2)>=60000 then aR[#aR+1]=bx[2][x]end end end;aO={'id:'..f,p(m*2+(S and 1 or
0))}end;for x,W in ipairs(P)do local q=p(R[W])if q~=(V[x]or'')then aO[#aO+1],aO[#aO+2]=W,q end end;
aJ[a],aJ[b]=az,not V[1]if U then g('DEL',b)end;u(b,aR)if#aO>0 then g('HSET',b,unpack(aO))end;for O,v
in ipairs(KEYS)do if v==a and J()and not I('override.until')then if az then g('PERSIST',a)end elseif
aJ[v]or bw and not L then g('PEXPIRE',v,p(I('expires')-m))end end end;local a8={bk and 1 or 0,bl and
1 or 0,m}local function by(z,b9)for G,q in pairs(z)do local bz=G:sub(1,4)=='row:'and not k;if not bz
and not(K(G)and q:sub(-2)==' 0')then a8[#a8+1],a8[#a8+2]=(b9 or'')..G,'='..p(q)end end end;if B.
epoch then by(B)by(R)by(aF)by({policyHash=X or'',successes=aY,failures=aZ,slow=a3},'answer.')if e==
'dump'then by(y(c),'failures:')by(y(d),'successes:')end end;return a8`;

/** Its SHA-1, by which Redis knows it. */
export const SCRIPT_SHA1: string = "4d041ee074994077aecbbf1f493de3954aff0ab2";
